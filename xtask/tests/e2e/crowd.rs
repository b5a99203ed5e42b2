//! Many clients at once, of two tiers: each gets what its limits allow, and what the API saw is what was admitted.

use crate::{PATH, deploy, tier};
use anyhow::{Result, anyhow};
use std::net::SocketAddr;
use std::time::Instant;
use xtask::client::{Client, Request};
use xtask::deployment::{Deployment, PORT};
use xtask::tally::{Limits, Tally};

const CONNECTIONS: usize = 100;
const EACH: u64 = 3;

/// A key, and which of its requests on a connection the kernel cannot judge.
type Load<'a> = (&'a str, fn(u64) -> bool);

/// A few requests on each of many connections at once, by turns to the host's two addresses.
fn crowd(deployment: &Deployment, loads: &[Load<'_>]) -> Result<Vec<Tally>> {
    let servers = [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)];
    deployment.lab.client.inside(|| {
        std::thread::scope(|scope| {
            let mut crowds = Vec::new();
            for (key, split) in loads {
                let key = deployment.key(key)?;
                let clients = servers.into_iter().cycle().take(CONNECTIONS);
                let clients = clients.map(|server| scope.spawn(move || few(server, key, *split)));
                crowds.push(clients.collect::<Vec<_>>());
            }
            let mut tallies = Vec::new();
            for clients in crowds {
                let mut tally = Tally::default();
                for client in clients {
                    tally.merge(client.join().map_err(|_| anyhow!("a client panicked"))??);
                }
                tallies.push(tally);
            }
            Ok(tallies)
        })
    })
}

fn few(server: SocketAddr, key: &str, split: fn(u64) -> bool) -> Result<Tally> {
    let headers = [("X-API-Key", key)];
    let mut client = Client::new(server);
    let mut tally = Tally::default();
    for number in 0..EACH {
        let request = Request { split: split(number), ..Request::get(PATH, &headers) };
        let sent = Instant::now();
        let outcome = client.send(&request)?;
        tally.record(sent, Instant::now(), outcome);
    }
    Ok(tally)
}

#[test]
fn two_tiers_side_by_side_do_not_disturb_each_other() -> Result<()> {
    let small = Limits { per_hour: 10_000, burst: 120 };
    let tables = tier("small", 10_000, 120) + &tier("big", 10_000, 1_000);
    let mut deployment = deploy("reset", &tables, &[("greedy", "small"), ("modest", "big")])?;
    let tallies = crowd(&deployment, &[("greedy", |_| false), ("modest", |number| number == 1)])?;
    let [greedy, modest] = tallies.as_slice() else { panic!("two loads make two tallies") };
    assert!(greedy.other.is_empty() && modest.other.is_empty(), "{:?} {:?}", greedy.other, modest.other);
    let all = CONNECTIONS as u64 * EACH;
    assert_eq!((modest.admitted, modest.by_kernel, modest.by_proxy), (all, 0, 0));
    let allowed = greedy.allowed(small);
    assert!(allowed.contains(&greedy.admitted), "{} admitted, {allowed:?} allowed", greedy.admitted);
    assert!(greedy.by_kernel > 0, "{greedy:?}");
    let seen = deployment.seen()?;
    assert_eq!(seen.get("greedy"), Some(&greedy.admitted));
    assert_eq!(seen.get("modest"), Some(&all));
    let counted = deployment.stop()?;
    // The kernel judges two of three requests of the modest clients.
    assert_eq!(counted.get("admitted"), Some(&(greedy.admitted + all / 3 * 2)), "{counted:?}");
    assert_eq!(counted.get("refused_burst"), Some(&greedy.by_kernel), "{counted:?}");
    Ok(())
}

/// The kernel and each of the proxy's threads race for the last tokens of one bucket.
#[test]
fn a_crowd_with_one_key_gets_no_token_too_many() -> Result<()> {
    let limits = Limits { per_hour: 10_000, burst: 120 };
    let deployment = deploy("reset", &tier("small", 10_000, 120), &[("key", "small")])?;
    let mut tallies = crowd(&deployment, &[("key", |_| false), ("key", |_| true)])?;
    let mut tally = tallies.pop().unwrap_or_default();
    tallies.into_iter().for_each(|other| tally.merge(other));
    assert!(tally.other.is_empty(), "{:?}", tally.other);
    let allowed = tally.allowed(limits);
    assert!(allowed.contains(&tally.admitted), "{} admitted, {allowed:?} allowed", tally.admitted);
    assert_eq!(deployment.seen()?.get("key"), Some(&tally.admitted));
    Ok(())
}

/// An hour that runs out under a crowd: not one request more, and none less.
#[test]
fn a_crowd_uses_an_hour_up_to_the_last_request() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 150, 100_000), &[("key", "small")])?;
    let mut tallies = crowd(&deployment, &[("key", |_| false), ("key", |number| number == 2)])?;
    let mut tally = tallies.pop().unwrap_or_default();
    tallies.into_iter().for_each(|other| tally.merge(other));
    assert!(tally.other.is_empty(), "{:?}", tally.other);
    assert_eq!(
        (tally.admitted, tally.by_kernel + tally.by_proxy),
        (150, 2 * CONNECTIONS as u64 * EACH - 150)
    );
    assert_eq!(deployment.seen()?.get("key"), Some(&150));
    Ok(())
}
