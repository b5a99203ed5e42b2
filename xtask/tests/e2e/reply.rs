//! The kernel's 429: the whole answer, and a clean end of the connection on both sides.

use crate::segments::{Connection, get};
use crate::wire::{BadWire, Faults};
use crate::{PATH, SOON, ask, deploy, eventually, number, tier};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use xtask::client::{Answer, Client, Outcome, Request};
use xtask::deployment::{Deployment, PORT};

/// Sends a request by a connection of its own until the kernel refuses one; returns the refusal.
fn until_refused(deployment: &Deployment, server: SocketAddr, request: &Request<'_>) -> Result<Answer> {
    deployment.lab.client.inside(|| {
        for _ in 0..2_000 {
            match Client::new(server).send(request)? {
                Outcome::Answered(answer) if answer.status == 429 => return Ok(answer),
                Outcome::Answered(answer) => ensure!(answer.status < 300, "{answer:?}"),
                other => bail!("{other:?}"),
            }
        }
        bail!("never refused")
    })
}

/// Only the proxy writes a date.
fn is_of_kernel(answer: &Answer) -> bool {
    answer.status == 429 && answer.header("date").is_none() && answer.header("connection") == Some("close")
}

/// No connection to the API's port is left on either side.
fn all_closed(deployment: &Deployment) -> Result<()> {
    let (client, host) = (&deployment.lab.client, &deployment.lab.host);
    eventually("all connections are closed", || {
        let here = host.output("ss", &["-tnaH", "state", "connected", "sport", "=", ":8080"])?;
        let there = client.output("ss", &["-tnaH", "state", "connected", "dport", "=", ":8080"])?;
        Ok(here.lines().chain(there.lines()).all(|line| line.contains("TIME-WAIT")))
    })
}

#[test]
fn a_new_connection_gets_the_answer_and_its_end() -> Result<()> {
    let mut deployment = deploy("reply", &tier("small", 1_000, 10), &[("key", "small")])?;
    let headers = [("X-API-Key", deployment.key("key")?)];
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let answer = until_refused(&deployment, server, &Request::get(PATH, &headers))?;
        ensure!(is_of_kernel(&answer), "the proxy has answered: {answer:?}");
        ensure!(number(&answer, "x-ratelimit-limit")? == 1_000, "{answer:?}");
        let wait = number(&answer, "retry-after")?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        ensure!(body.pointer("/error/retry_after").and_then(|wait| wait.as_u64()) == Some(wait), "{body}");
    }
    all_closed(&deployment)?;
    let counted = deployment.stop()?;
    ensure!(counted.get("refused_burst").is_some_and(|count| *count >= 2), "{counted:?}");
    Ok(())
}

/// Everything that comes until the end of the stream.
fn transcript(deployment: &Deployment, segments: &[&str]) -> Result<String> {
    let server = deployment.lab.host_v4(PORT);
    let mut stream = deployment.lab.client.inside(|| Ok(TcpStream::connect_timeout(&server, SOON)?))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOON))?;
    segments.iter().try_for_each(|segment| stream.write_all(segment.as_bytes()))?;
    let mut received = String::new();
    stream.read_to_string(&mut received).context("until the end of the stream")?;
    Ok(received)
}

/// The wait is told in whole seconds: what the proxy says before and after, the kernel says in between.
#[test]
fn it_is_the_proxy_s_answer_to_the_letter() -> Result<()> {
    let deployment = deploy("reply", &tier("small", 3, 6_000), &[("key", "small")])?;
    let key = format!("X-API-Key: {}", deployment.key("key")?);
    let request = get(&[&key, "Connection: close"]);
    let (first, rest) = request.split_at(10);
    for _ in 0..3 {
        ensure!(transcript(&deployment, &[first, rest])?.starts_with("HTTP/1.1 200"), "within the limits");
    }
    let by_proxy = || -> Result<String> {
        let answer = transcript(&deployment, &[first, rest])?;
        let date = answer.lines().find(|line| line.starts_with("Date: ")).context("no date")?;
        Ok(answer.replace(&format!("{date}\r\n"), ""))
    };
    for _ in 0..20 {
        let before = by_proxy()?;
        let by_kernel = transcript(&deployment, &[&request])?;
        let after = by_proxy()?;
        ensure!(!by_kernel.contains("Date:"), "the proxy has answered: {by_kernel}");
        if before == after {
            assert_eq!(by_kernel, before);
            return Ok(());
        }
    }
    bail!("the proxy's answer was another each time")
}

#[test]
fn a_connection_that_was_served_gets_it_too() -> Result<()> {
    let deployment = deploy("reply", &tier("small", 1_000, 12), &[("key", "small")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let mut connection = Connection::open(&deployment.lab, server)?;
        let mut statuses = Vec::new();
        loop {
            connection.segment(&request)?;
            match connection.outcome()? {
                Outcome::Answered(answer) if is_of_kernel(&answer) => break,
                // While the proxy still has an admitted one in hand, it answers; but not twice.
                Outcome::Answered(answer) => statuses.push(answer.status),
                other => bail!("{other:?} after {statuses:?}"),
            }
            ensure!(statuses.len() < 30, "the kernel never answered: {statuses:?}");
        }
        let end = connection.outcome()?;
        ensure!(matches!(end, Outcome::Closed), "{end:?} in place of the end of the stream");
    }
    all_closed(&deployment)
}

/// The kernel has judged nothing on it before: it learns from the proxy that it is its turn.
#[test]
fn a_connection_that_begins_with_a_split_head_gets_it_too() -> Result<()> {
    let deployment = deploy("reply", &tier("small", 1, 600), &[("key", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let (first, rest) = request.split_at(request.len() - 20);
    let mut within = Connection::open(&deployment.lab, server)?;
    within.segment(&request)?;
    ensure!(within.answer()?.status == 200, "within the limits");
    drop(within);
    let mut connection = Connection::open(&deployment.lab, server)?;
    connection.segment(first)?;
    connection.segment(rest)?;
    ensure!(!is_of_kernel(&connection.answer()?), "a split head is the proxy's to judge");
    let mut asked = 1;
    loop {
        connection.segment(&request)?;
        if is_of_kernel(&connection.answer()?) {
            break;
        }
        asked += 1;
        ensure!(asked < 20, "the kernel never answered");
    }
    drop(connection);
    all_closed(&deployment)
}

/// The kernel does not answer before the answers that are still to come.
#[test]
fn a_client_that_does_not_wait_gets_its_answers_in_order() -> Result<()> {
    let deployment = deploy("reply", &tier("tiny", 1_000, 3), &[("key", "tiny")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    for _ in 0..6 {
        connection.segment(&request)?;
    }
    let mut statuses = Vec::new();
    while statuses.len() < 6 {
        match connection.outcome()? {
            Outcome::Answered(answer) => statuses.push(answer.status),
            Outcome::Closed => break,
            other => bail!("{other:?} after {statuses:?}"),
        }
    }
    let (served, refused) = statuses.split_at_checked(3).context("too few answers")?;
    ensure!(served == [200; 3] && !refused.is_empty(), "{statuses:?}");
    ensure!(refused.iter().all(|status| *status == 429), "{statuses:?}");
    ensure!(deployment.seen()?.get("key") == Some(&3), "{:?}", deployment.seen()?);
    Ok(())
}

/// The body is on its way when the answer comes: nobody wants it, and the client does not have to send it again.
#[test]
fn an_upload_is_answered_and_not_sent_again() -> Result<()> {
    let deployment = deploy("reply", &tier("tiny", 1_000, 1), &[("key", "tiny")])?;
    let headers = [("X-API-Key", deployment.key("key")?), ("Content-Type", "application/json")];
    let server = deployment.lab.host_v4(PORT);
    until_refused(&deployment, server, &Request::get(PATH, &headers))?;
    let body = vec![b' '; 200_000];
    for _ in 0..20 {
        let upload = Request { method: "POST", body: &body, ..Request::get("/students", &headers) };
        let answer = ask(&deployment, server, &upload)?;
        ensure!(answer.status == 429, "{answer:?}");
    }
    all_closed(&deployment)
}

#[test]
fn head_gets_no_body() -> Result<()> {
    let deployment = deploy("reply", &tier("tiny", 1_000, 1), &[("key", "tiny")])?;
    let key = format!("X-API-Key: {}", deployment.key("key")?);
    transcript(&deployment, &[&get(&[&key, "Connection: close"])])?;
    let answer = transcript(&deployment, &[&get(&[&key, "Connection: close"]).replacen("GET", "HEAD", 1)])?;
    ensure!(answer.starts_with("HTTP/1.1 429") && answer.ends_with("\r\n\r\n"), "{answer}");
    ensure!(answer.contains("Content-Length: 1") && !answer.contains('{'), "{answer}");
    Ok(())
}

/// What is lost is answered again; nothing is charged, and nobody hangs.
#[test]
fn on_a_bad_wire_every_refused_client_gets_its_answer() -> Result<()> {
    let mut deployment = deploy("reply", &tier("tiny", 10_000, 1), &[("key", "tiny")])?;
    let (loss, more) =
        (Faults { lost: 8, doubled: 15, swapped: 8 }, Faults { lost: 8, doubled: 5, swapped: 0 });
    let wire = BadWire::splice(&deployment.lab, loss, more)?;
    let headers = [("X-API-Key", deployment.key("key")?)];
    let (server, body) = (deployment.lab.host_v4(PORT), vec![b' '; 6_000]);
    let ask = |number: usize| -> Result<u64> {
        let upload = Request { method: "POST", body: &body, ..Request::get("/students", &headers) };
        let request = if number.is_multiple_of(3) { upload } else { Request::get(PATH, &headers) };
        let outcome = deployment.lab.client.inside(|| Client::new(server).send(&request))?;
        match outcome {
            Outcome::Answered(answer) if answer.status == 429 => Ok(0),
            // Admitted, whatever the API thinks of its body.
            Outcome::Answered(_) => Ok(1),
            other => bail!("{other:?}"),
        }
    };
    let admitted = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| scope.spawn(move || (0..25).map(|round| ask(client + round)).sum::<Result<u64>>()))
            .collect();
        let joined =
            clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        joined.sum::<Result<u64>>()
    })?;
    wire.check()?;
    ensure!(wire.counts.lost.load(Ordering::Relaxed) > 0, "the wire was too good: {:?}", wire.counts);
    ensure!(deployment.seen()?.get("key").copied().unwrap_or(0) == admitted, "{admitted} admitted");
    let counted = deployment.stop()?;
    ensure!(counted.get("closing").is_some_and(|count| *count > 150), "{counted:?}");
    Ok(())
}

#[test]
fn ten_thousand_refusals_leave_nothing_behind() -> Result<()> {
    const EACH: usize = 2_500;
    let deployment = deploy("reply", &tier("tiny", 10, 1), &[("key", "tiny")])?;
    let headers = [("X-API-Key", deployment.key("key")?)];
    let refused = std::thread::scope(|scope| {
        let clients: Vec<_> = [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)]
            .into_iter()
            .cycle()
            .take(4)
            .map(|server| {
                let request = Request::get(PATH, &headers);
                let lab = &deployment.lab;
                scope.spawn(move || {
                    lab.client.inside(|| {
                        let mut refused = 0;
                        while refused < EACH {
                            match Client::new(server).send(&request)? {
                                Outcome::Answered(answer) if answer.status == 429 => refused += 1,
                                Outcome::Answered(answer) => ensure!(answer.status == 200, "{answer:?}"),
                                other => bail!("{other:?} after {refused} refusals"),
                            }
                        }
                        Ok(refused)
                    })
                })
            })
            .collect();
        let joined =
            clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        joined.sum::<Result<usize>>()
    })?;
    ensure!(refused == 4 * EACH, "{refused} refused");
    all_closed(&deployment)
}
