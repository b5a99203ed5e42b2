//! Nanoseconds per packet, by the kernel's own test runs, beside an empty program in the same rounds.
//!
//! Prints one JSON object a line: the case, the median over the rounds, the lowest and the highest, and the
//! median beyond the empty program. Needs root and `target/ebpf` (`cargo xtask build`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "shared with the tests, which stop at what they did not expect"
)]

#[path = "../tests/packets/frames.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod frames;
#[path = "../tests/packets/host.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod host;
#[path = "../tests/packets/socket.rs"]
mod socket;

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use frames::{CLIENT_V4, Frame, HOST_V4, PORT, request};
use host::{Host, KEY, SLOT, XDP_TX};
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;
use ratelimit_daemon::clock;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

/// Rounds over all cases; the order inside a round is fixed, so drift of the machine hits all alike.
const ROUNDS: usize = 15;
/// Runs of one case in a round, timed by the kernel as one.
const REPEAT: u32 = 100_000;
/// Requests in a round for the case in which each one has to be another, timed one by one.
const SINGLES: usize = 4_000;

struct Case {
    name: &'static str,
    samples: Vec<u64>,
    run: Box<dyn FnMut() -> Result<u64>>,
}

fn main() -> Result<()> {
    let mut cases = vec![
        case("empty program", empty(Frame::new(request(57, "A: b")).bytes())?),
        case("bare ACK", passed(Frame { payload: Vec::new(), ..Frame::new("") }, Outcome::NoPayload)),
        case("another port", passed(Frame { host_port: 81, ..Frame::new("x") }, Outcome::OtherPort)),
        case("no key, 700 bytes", passed(Frame::new(request(620, "X-No-Key: 1")), Outcome::NoKey)),
        case("unknown key at byte 57", passed(with_key(57, "X-API-Key: x"), Outcome::UnknownKey)),
        case("retransmission, key at byte 57", passed(with_key(57, ""), Outcome::Retransmit)),
        case("retransmission, key at byte 600", passed(with_key(600, ""), Outcome::Retransmit)),
        case("retransmission, key at byte 1300", passed(with_key(1_300, ""), Outcome::Retransmit)),
        case("refused, dropped", dropped()),
        case("empty program, one by one", empty_single(Frame::new(request(57, "A: b")).bytes())?),
        case("admitted, key at byte 57, one by one", admitted(57)),
        case("admitted, key at byte 600, one by one", admitted(600)),
        case("admitted, new connection, one by one", admitted_new()),
        case("refused, answered with the 429, one by one", answered()),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let sample = (case.run)().with_context(|| format!("case {:?}", case.name))?;
            case.samples.push(sample);
        }
    }
    print(&mut cases);
    Ok(())
}

fn case(name: &'static str, run: impl FnMut() -> Result<u64> + 'static) -> Case {
    Case { name, samples: Vec::new(), run: Box::new(run) }
}

/// The frame on a connection of its own: all cases have one network.
fn alone(frame: Frame) -> Frame {
    static NEXT: AtomicU16 = AtomicU16::new(1_024);
    Frame { client_port: NEXT.fetch_add(1, Ordering::Relaxed), ..frame }
}

/// A request whose key stands at about byte `before`, with `prefix` before it: a prefix makes it unknown.
fn with_key(before: usize, prefix: &str) -> Frame {
    let field = if prefix.is_empty() { "X-API-Key: " } else { prefix };
    Frame::new(request(before, &format!("{field}{KEY}")))
}

/// A frame that is passed, of a key within its limits.
fn passed(frame: Frame, outcome: Outcome) -> impl FnMut() -> Result<u64> {
    repeated(Host::new(Action::Drop, 10_000_000), frame, outcome)
}

/// A request over the limits, to which nothing is answered.
fn dropped() -> impl FnMut() -> Result<u64> {
    let host = Host::new(Action::Drop, 1);
    host.slot(SLOT).bucket.store(clock::now() + 3_600_000_000_000);
    repeated(host, with_key(57, ""), Outcome::RefusedBurst)
}

/// The same frame again and again, of which each time but the first has this `outcome`.
fn repeated(mut host: Host, frame: Frame, outcome: Outcome) -> impl FnMut() -> Result<u64> {
    let frame = alone(frame);
    let bytes = frame.bytes();
    host.run(&frame);
    move || {
        let found = host.outcome_of(&frame);
        ensure!(found == outcome, "{found:?} in place of {outcome:?}");
        Ok(nanoseconds(host.kernel.test_run(&bytes, REPEAT)?.duration))
    }
}

/// Refused requests, each on a connection of its own, which its refusal ends.
fn answered() -> impl FnMut() -> Result<u64> {
    let mut host = Host::new(Action::Reply, 1);
    host.slot(SLOT).bucket.store(clock::now() + 3_600_000_000_000);
    let mut frame = with_key(57, "");
    move || {
        median_of_singles(|| {
            frame.client_port = if frame.client_port < 20_000 { 60_000 } else { frame.client_port - 1 };
            host.establish(&frame);
            let output = host.kernel.test_run(&frame.bytes(), 1)?;
            host.disconnect(&frame);
            ensure!(output.action == XDP_TX, "the request was not answered");
            host.kernel.flows().open((CLIENT_V4, frame.client_port).into(), (HOST_V4, PORT).into()).forget();
            Ok(nanoseconds(output.duration))
        })
    }
}

/// Requests one after the other on one connection, each taken note of as the proxy does.
fn admitted(before: usize) -> impl FnMut() -> Result<u64> {
    let mut host = Host::new(Action::Drop, 10_000_000);
    let mut frame = alone(with_key(before, ""));
    let flow = host.kernel.flows().open((CLIENT_V4, frame.client_port).into(), (HOST_V4, PORT).into());
    move || {
        median_of_singles(|| {
            frame.sequence = frame.sequence.wrapping_add(frame.payload.len() as u32);
            host.establish(&frame);
            let duration = host.kernel.test_run(&frame.bytes(), 1)?.duration;
            flow.take(SLOT).context("the request was not charged")?;
            Ok(nanoseconds(duration))
        })
    }
}

/// The first request of a connection, again and again.
fn admitted_new() -> impl FnMut() -> Result<u64> {
    let mut host = Host::new(Action::Drop, 10_000_000);
    let mut frame = with_key(57, "");
    move || {
        median_of_singles(|| {
            frame.client_port = if frame.client_port < 20_000 { 60_000 } else { frame.client_port - 1 };
            host.establish(&frame);
            let duration = host.kernel.test_run(&frame.bytes(), 1)?.duration;
            host.disconnect(&frame);
            let flow =
                host.kernel.flows().open((CLIENT_V4, frame.client_port).into(), (HOST_V4, PORT).into());
            flow.take(SLOT).context("the request was not charged")?;
            flow.release();
            Ok(nanoseconds(duration))
        })
    }
}

fn median_of_singles(mut run: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut samples = (0..SINGLES).map(|_| run()).collect::<Result<Vec<_>>>()?;
    Ok(median(&mut samples))
}

fn empty_program() -> Result<aya::Ebpf> {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/pass");
    let mut ebpf =
        aya::Ebpf::load_file(&object).with_context(|| format!("cannot load {}", object.display()))?;
    program(&mut ebpf)?.load()?;
    Ok(ebpf)
}

fn program(ebpf: &mut aya::Ebpf) -> Result<&mut Xdp> {
    Ok(ebpf.program_mut("pass").context("no program `pass`")?.try_into()?)
}

fn run_empty(ebpf: &mut aya::Ebpf, frame: &[u8], repeat: u32) -> Result<u64> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    Ok(nanoseconds(program(ebpf)?.test_run(options)?.duration))
}

fn empty(frame: Vec<u8>) -> Result<impl FnMut() -> Result<u64>> {
    let mut ebpf = empty_program()?;
    Ok(move || run_empty(&mut ebpf, &frame, REPEAT))
}

fn empty_single(frame: Vec<u8>) -> Result<impl FnMut() -> Result<u64>> {
    let mut ebpf = empty_program()?;
    Ok(move || median_of_singles(|| run_empty(&mut ebpf, &frame, 1)))
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn median(samples: &mut [u64]) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn print(cases: &mut [Case]) {
    let mut empty = 0;
    for case in cases {
        let middle = median(&mut case.samples);
        if case.name.starts_with("empty program") {
            empty = middle;
        }
        let line = serde_json::json!({
            "case": case.name,
            "median_ns": middle,
            "min_ns": case.samples.first(),
            "max_ns": case.samples.last(),
            "beyond_empty_ns": middle.saturating_sub(empty),
        });
        println!("{line}");
    }
}
