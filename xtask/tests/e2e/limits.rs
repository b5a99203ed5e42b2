//! No request too many and none too few, whoever judges it.

use crate::bucket::tokens;
use crate::{PATH, ask, deploy, number, send, tier};
use anyhow::Result;
use std::fmt::Write as _;
use xtask::client::Request;
use xtask::deployment::PORT;
use xtask::tally::Limits;

#[test]
fn kernel_and_proxy_empty_one_bucket() -> Result<()> {
    let limits = Limits { per_hour: 10_000, burst: 30 };
    let deployment = deploy("reset", &tier("small", limits.per_hour, limits.burst), &[("key", "small")])?;
    let mut tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 40, |number| number % 2 == 0)?;
    tally.merge(send(&deployment, deployment.lab.host_v6(PORT), "key", 40, |number| number % 2 == 0)?);
    assert!(tally.other.is_empty(), "{:?}", tally.other);
    assert!(tally.by_kernel > 0 && tally.by_proxy > 0, "both should have refused: {tally:?}");
    let allowed = tally.allowed(limits);
    assert!(allowed.contains(&tally.admitted), "{} admitted, {allowed:?} allowed", tally.admitted);
    assert_eq!(deployment.seen()?.get("key"), Some(&tally.admitted));
    Ok(())
}

#[test]
fn an_hour_is_an_hour_whoever_refuses() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 25, 1_000), &[("key", "small")])?;
    let mut tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 40, |number| number % 3 == 0)?;
    tally.merge(send(&deployment, deployment.lab.host_v6(PORT), "key", 40, |number| number % 3 == 0)?);
    assert!(tally.other.is_empty(), "{:?}", tally.other);
    assert_eq!((tally.admitted, tally.by_kernel + tally.by_proxy), (25, 55));
    assert_eq!(deployment.seen()?.get("key"), Some(&25));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("refused_blocked").copied().unwrap_or_default(), tally.by_kernel);
    Ok(())
}

#[test]
fn an_empty_bucket_is_its_keys_own() -> Result<()> {
    let deployment = deploy("reset", "", &[("greedy", "professional"), ("modest", "professional")])?;
    let server = deployment.lab.host_v4(PORT);
    let greedy = send(&deployment, server, "greedy", 150, |_| false)?;
    assert!(greedy.by_kernel > 0, "{greedy:?}");
    let modest = send(&deployment, server, "modest", 100, |number| number % 2 == 0)?;
    assert_eq!((modest.admitted, modest.by_kernel, modest.by_proxy), (100, 0, 0));
    Ok(())
}

#[test]
fn a_connections_requests_are_charged_once_each() -> Result<()> {
    const COUNT: u64 = 40;
    let mut deployment = deploy("reset", &tier("slow", 1_000, 60), &[("key", "slow")])?;
    let server = deployment.lab.host_v4(PORT);
    let tally = send(&deployment, server, "key", COUNT, |_| false)?;
    assert_eq!(tally.admitted, COUNT);
    let headers = [("X-API-Key", deployment.key("key")?)];
    let last = ask(&deployment, server, &Request { split: true, ..Request::get(PATH, &headers) })?;
    assert_eq!(number(&last, "x-ratelimit-remaining")?, 1_000 - COUNT - 1);
    // A token comes back each second: how many, is for the machine's speed to say.
    let burst = tokens(&last)?;
    assert!((60 - COUNT - 1..60).contains(&burst), "{burst} tokens");
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&COUNT), "{counted:?}");
    Ok(())
}

#[test]
fn a_body_of_many_segments_is_one_request() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    let server = deployment.lab.host_v4(PORT);
    let mut body = String::from("[");
    for number in 0..100 {
        let comma = if number == 0 { "" } else { "," };
        write!(body, "{comma}{{\"name\":\"Student {number}\",\"email\":\"{number}@school.example\"}}")?;
    }
    body.push(']');
    let headers = [("X-API-Key", deployment.key("key")?), ("Content-Type", "application/json")];
    let bulk = Request { method: "POST", body: body.as_bytes(), ..Request::get("/students/bulk", &headers) };
    for round in 1..=3 {
        let answer = ask(&deployment, server, &bulk)?;
        assert_eq!(
            (answer.status, number(&answer, "x-ratelimit-remaining")?),
            (201, 20 - round),
            "the rule is nearer"
        );
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&3));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&3), "{counted:?}");
    Ok(())
}
