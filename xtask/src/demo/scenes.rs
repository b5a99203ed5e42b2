//! What the demonstration shows, scene by scene.

use super::Demo;
use super::curl::{self, Asked, show};
use super::load::{self, Load, Until};
use crate::client::{Client, Outcome, Request};
use crate::deployment::PORT;
use crate::interrupt;
use crate::tally::Tally;
use anyhow::{Context, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(6);

/// An empty bucket may have got a token back by the time it is asked: this many requests in a row find it
/// empty once.
const TRIES: usize = 5;

const SHORT_PAGE: &str = "/courses?per_page=1";

pub(super) fn all(demo: &mut Demo) -> Result<()> {
    headers(demo)?;
    bursts(demo)?;
    refusals(demo)?;
    flood(demo)?;
    strangers(demo)
}

fn title(text: &str) -> Result<()> {
    interrupt::check()?;
    println!("\n{text}");
    Ok(())
}

fn headers(demo: &mut Demo) -> Result<()> {
    title("Requests within the limits, and the headers that tell a client where it stands")?;
    let key = demo.deployment.key("first-steps")?.to_owned();
    let (v4, v6) = (demo.deployment.lab.host_v4(PORT), demo.deployment.lab.host_v6(PORT));
    let bearer = format!("Bearer {key}");
    let (own, bearer) = ([("X-API-Key", key.as_str())], [("Authorization", bearer.as_str())]);
    let asked = [
        Asked { server: v4, method: "GET", path: SHORT_PAGE, fields: &own },
        Asked { server: v6, method: "GET", path: "/search/students?q=nobody", fields: &bearer },
        Asked { server: v4, method: "POST", path: "/courses/7/export", fields: &own },
    ];
    // The last two endpoints have rules of their own, which are nearer to refusing than the hour.
    let expected = [("1000", "999"), ("100", "99"), ("10", "9")];
    for (asked, expected) in asked.into_iter().zip(expected) {
        let Some(answer) = curl::counted(demo, "first-steps", asked)? else { continue };
        let told =
            ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name).map(str::to_owned));
        let (limit, remaining) = expected;
        let right = told == [Some(limit.to_owned()), Some(remaining.to_owned())];
        demo.expect(right, || format!("limit and remaining are {told:?}, and should be {expected:?}"));
    }
    Ok(())
}

fn bursts(demo: &mut Demo) -> Result<()> {
    title("A burst with a professional key: 100 at once, then one each 600 ms; the kernel refuses the rest")?;
    burst(demo, "acme", 150)?;
    title("A burst with an enterprise key: 500 at once")?;
    burst(demo, "globex", 600)?;
    title("A tier of the operator's own, 30 requests an hour: the hour is used up long before the burst")?;
    burst(demo, "newcomer", 45)?;
    println!(
        "  what the proxy says when it is asked, because the kernel can't judge a head in two segments:"
    );
    let key = demo.deployment.key("newcomer")?.to_owned();
    let wait = split(demo, "newcomer", &key)?;
    demo.expect(wait.is_some_and(|wait| wait > 3_000), || format!("newcomer: told to wait {wait:?} s"));
    Ok(())
}

fn burst(demo: &mut Demo, key: &'static str, count: u64) -> Result<()> {
    let load = load(demo, key, 4, Until::Count(count))?;
    let mut tallies = load::send(&demo.deployment.lab.client, &[load])?;
    let tally = tallies.pop().context("no tally")?;
    summary(key, &tally);
    demo.merge(key, tally);
    Ok(())
}

fn load<'a>(demo: &'a Demo, key: &str, connections: usize, until: Until) -> Result<Load<'a>> {
    let server = demo.deployment.lab.host_v4(PORT);
    Ok(Load { server, key: demo.deployment.key(key)?, connections, until, pace: Duration::ZERO })
}

fn summary(key: &str, tally: &Tally) {
    let Tally { sent, admitted, by_kernel, by_proxy, .. } = tally;
    println!(
        "  {key}: {sent} sent, {admitted} admitted, {by_kernel} refused by the kernel, {by_proxy} by the proxy"
    );
}

fn refusals(demo: &mut Demo) -> Result<()> {
    title(
        "Over the burst, the kernel's 429: made by XDP, before the TCP stack saw the request (it has no Date)",
    )?;
    let key = demo.deployment.key("acme")?.to_owned();
    let fields = [("X-API-Key", key.as_str())];
    let server = demo.deployment.lab.host_v4(PORT);
    let asked = Asked { server, method: "GET", path: SHORT_PAGE, fields: &fields };
    let before = demo.tallies.get("acme").map_or(0, |tally| tally.by_kernel);
    let answers = |demo: &Demo| demo.tallies.get("acme").map_or(0, |tally| tally.by_kernel) - before;
    for _ in 0..TRIES {
        curl::counted(demo, "acme", asked)?;
        if answers(demo) > 0 {
            break;
        }
    }
    demo.expect(answers(demo) > 0, || "acme: no 429 of the kernel, though the bucket was empty".into());

    title("The same bucket where the kernel can't judge (the key is in a later segment): the proxy's 429")?;
    let wait = (0..TRIES).find_map(|_| split(demo, "acme", &key).transpose()).transpose()?;
    let Some(wait) = wait else {
        demo.expect(false, || "acme: no 429, though the bucket was empty".into());
        return Ok(());
    };

    title(&format!("Retry-After is a promise: {wait} s later the key is admitted"))?;
    sleep(Duration::from_secs(wait));
    let answer = curl::counted(demo, "acme", asked)?;
    demo.expect(answer.is_some_and(|answer| answer.status == 200), || {
        "acme: Retry-After was too short".into()
    });
    Ok(())
}

/// A request whose first line travels alone; the told wait, in seconds, if it is refused.
fn split(demo: &mut Demo, name: &'static str, key: &str) -> Result<Option<u64>> {
    let server = demo.deployment.lab.host_v4(PORT);
    let headers = [("X-API-Key", key)];
    let request = Request { split: true, ..Request::get(SHORT_PAGE, &headers) };
    let (sent, outcome) =
        (Instant::now(), demo.deployment.lab.client.inside(|| Client::new(server).send(&request))?);
    let mut tally = Tally::default();
    tally.record(sent, Instant::now(), outcome);
    let refusal = tally.refusal.clone();
    demo.merge(name, tally);
    let Some(refusal) = refusal else { return Ok(None) };
    show(&refusal);
    let wait = refusal.header("retry-after").context("a 429 without Retry-After")?;
    Ok(Some(wait.parse().context("Retry-After is not a number")?))
}

fn flood(demo: &mut Demo) -> Result<()> {
    title(&format!("A client runs away with its key for {} s; another key next to it", FLOOD.as_secs()))?;
    let pace = Duration::from_millis(50);
    let alone = Load { pace, ..load(demo, "bystander", 1, Until::Count(40))? };
    let mut alone = load::send(&demo.deployment.lab.client, &[alone])?;
    let alone = alone.pop().context("no tally")?;
    println!("  before the flood: {}", latencies(&alone));
    demo.merge("bystander", alone);

    let until = Until::Time(Instant::now() + FLOOD);
    let loads = [load(demo, "runaway", 4, until)?, Load { pace, ..load(demo, "bystander", 1, until)? }];
    let tallies = load::send(&demo.deployment.lab.client, &loads)?;
    for (key, tally) in ["runaway", "bystander"].into_iter().zip(tallies) {
        summary(key, &tally);
        if key == "bystander" {
            println!("  during the flood: {}", latencies(&tally));
            let (sent, admitted) = (tally.sent, tally.admitted);
            demo.expect(sent == admitted, || {
                format!("bystander: {admitted} of {sent} admitted in the flood")
            });
        }
        demo.merge(key, tally);
    }
    Ok(())
}

fn latencies(tally: &Tally) -> String {
    let mut sorted = tally.latencies.clone();
    sorted.sort_unstable();
    let at =
        |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    format!("bystander's requests take {:.1?} (median), {:.1?} (99th percentile)", at(50), at(99))
}

fn strangers(demo: &mut Demo) -> Result<()> {
    let server = demo.deployment.lab.host_v4(PORT);
    let key = demo.deployment.key("first-steps")?.to_owned();
    let asked = Asked { server, method: "GET", path: SHORT_PAGE, fields: &[] };
    let unknown = [("X-API-Key", "rl_0000000000000000000000000000000000000000")];
    let two = [("X-API-Key", key.as_str()), ("Authorization", "Bearer rl_another")];
    let asked = [
        ("A key that nobody was given", 401, Asked { fields: &unknown, ..asked }),
        ("Two different keys in one request", 400, Asked { fields: &two, ..asked }),
        ("No key", 401, asked),
    ];
    for (what, status, asked) in asked {
        title(what)?;
        let Outcome::Answered(answer) = curl::run(demo, asked)? else {
            demo.expect(false, || format!("{what}: no answer"));
            continue;
        };
        demo.expect(answer.status == status, || format!("{what}: {} in place of {status}", answer.status));
    }
    Ok(())
}
