//! Who is admitted, who is charged, and how often.

use crate::frames::{CLIENT_V4, Frame, HOST_V4, PORT, request};
use crate::host::{Host, KEY, OTHER_KEY, OTHER_SLOT, SLOT, XDP_DROP, XDP_PASS};
use ratelimit_common::flow::Credit;
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;
use ratelimit_daemon::clock;
use ratelimit_daemon::flows::Flow;

/// A request on the connection from `client_port`.
fn frame(key: &str, client_port: u16, sequence: u32) -> Frame {
    Frame { client_port, sequence, ..Frame::new(request(57, &format!("X-API-Key: {key}"))) }
}

fn flow(host: &Host, client_port: u16) -> Flow {
    host.kernel.flows().open((CLIENT_V4, client_port).into(), (HOST_V4, PORT).into())
}

#[test]
fn a_bucket_admits_its_capacity_and_another_key_is_undisturbed() {
    let mut host = Host::new(Action::Drop, 5);
    let outcomes: Vec<_> = (0..8).map(|port| host.outcome_of(&frame(KEY, port, 1))).collect();
    assert_eq!(outcomes[..5], [Outcome::Admitted; 5]);
    assert_eq!(outcomes[5..], [Outcome::RefusedBurst; 3]);
    assert_eq!(host.outcome_of(&frame(OTHER_KEY, 9, 1)), Outcome::Admitted);
    let (slot, other) = (host.slot(SLOT), host.slot(OTHER_SLOT));
    assert_eq!((slot.admitted.load(), slot.refused_burst.load()), (5, 3));
    assert_eq!((other.admitted.load(), other.refused_burst.load()), (1, 0));
}

#[test]
fn a_refusal_changes_nothing_and_is_judged_anew() {
    let mut host = Host::new(Action::Drop, 1);
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::Admitted);
    let word = host.slot(SLOT).bucket.load();
    let refused = frame(KEY, 2, 1);
    assert_eq!(host.outcome_of(&refused), Outcome::RefusedBurst);
    assert_eq!(host.run(&refused).action, XDP_DROP);
    assert_eq!(host.slot(SLOT).bucket.load(), word);
    assert_eq!(flow(&host, 2).release().word(), 0, "a refusal leaves no credit");
    host.slot(SLOT).bucket.store(0);
    assert_eq!(host.outcome_of(&refused), Outcome::Admitted, "TCP sends the dropped segment again");
}

#[test]
fn a_retransmission_is_passed_and_not_charged_again() {
    let mut host = Host::new(Action::Drop, 100);
    let first = frame(KEY, 1, u32::MAX - 20);
    let second = frame(KEY, 1, (u32::MAX - 20).wrapping_add(first.payload.len() as u32));
    assert_eq!(host.outcome_of(&first), Outcome::Admitted);
    assert_eq!(host.outcome_of(&first), Outcome::Retransmit);
    assert_eq!(host.outcome_of(&second), Outcome::Admitted);
    assert_eq!(host.outcome_of(&first), Outcome::Retransmit);
    assert_eq!(host.outcome_of(&second), Outcome::Retransmit);
    assert_eq!(host.charged(), 2);
}

#[test]
fn a_charge_leaves_one_credit_that_the_proxy_takes_once() {
    let mut host = Host::new(Action::Drop, 100);
    host.run(&frame(KEY, 1, 1));
    let flow = flow(&host, 1);
    assert_eq!(flow.take(OTHER_SLOT), None);
    assert_eq!(flow.take(SLOT), Some(Credit::Paid));
    assert_eq!(flow.take(SLOT), None);
}

#[test]
fn requests_that_wait_for_the_proxy_are_bounded() {
    let mut host = Host::new(Action::Drop, 100);
    let outcomes: Vec<_> = (0..9).map(|request| host.outcome_of(&frame(KEY, 1, request * 1_000))).collect();
    assert_eq!(outcomes[..7], [Outcome::Admitted; 7]);
    assert_eq!(outcomes[7..], [Outcome::FlowFull; 2]);
    assert_eq!(host.slot(SLOT).admitted.load(), 7);
    let before = host.slot(SLOT).bucket.load();
    assert_eq!(host.outcome_of(&frame(KEY, 1, 20_000)), Outcome::FlowFull);
    assert_eq!(host.slot(SLOT).bucket.load(), before, "what is left to the proxy is not charged");
}

#[test]
fn another_key_on_a_connection_with_open_credits_is_left_to_the_proxy() {
    let mut host = Host::new(Action::Drop, 100);
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::Admitted);
    assert_eq!(host.outcome_of(&frame(OTHER_KEY, 1, 1_000)), Outcome::FlowFull);
    flow(&host, 1).take(SLOT);
    assert_eq!(host.outcome_of(&frame(OTHER_KEY, 1, 1_000)), Outcome::Admitted);
}

#[test]
fn a_blocked_key_is_refused_until_its_time() {
    let mut host = Host::new(Action::Drop, 100);
    host.slot(SLOT).blocked_until_ns.store(clock::now() + 3_600_000_000_000);
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::RefusedBlocked);
    assert_eq!(host.outcome_of(&frame(OTHER_KEY, 2, 1)), Outcome::Admitted);
    assert_eq!((host.slot(SLOT).refused_blocked.load(), host.slot(SLOT).bucket.load()), (1, 0));
    host.slot(SLOT).blocked_until_ns.store(clock::now());
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::Admitted);
}

#[test]
fn a_dry_run_passes_everything_and_tells_the_proxy() {
    let mut host = Host::new(Action::Observe, 1);
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::Admitted);
    let over = frame(KEY, 2, 1);
    assert_eq!(host.outcome_of(&over), Outcome::Observed);
    assert_eq!(host.outcome_of(&over), Outcome::Retransmit);
    assert_eq!(host.run(&frame(KEY, 3, 1)).action, XDP_PASS);
    assert_eq!(flow(&host, 2).take(SLOT), Some(Credit::Observed));
    assert_eq!((host.slot(SLOT).admitted.load(), host.slot(SLOT).observed.load()), (1, 2));
    assert_eq!(host.slot(SLOT).refused_burst.load(), 0);
}

#[test]
fn a_key_that_was_removed_is_unknown() {
    let mut host = Host::new(Action::Drop, 100);
    assert_eq!(host.outcome_of(&frame(KEY, 1, 1)), Outcome::Admitted);
    let hash = ratelimit_common::hash::hash_bytes(crate::host::SECRET, KEY.as_bytes());
    host.kernel.remove_key(hash).expect("it was there");
    host.kernel.remove_key(hash).expect("and it may be gone already");
    assert_eq!(host.outcome_of(&frame(KEY, 2, 1)), Outcome::UnknownKey);
}

#[test]
fn a_slot_outside_the_map_is_a_fault_and_passes() {
    let mut host = Host::new(Action::Drop, 100);
    let hash = ratelimit_common::hash::hash_bytes(crate::host::SECRET, b"astray");
    host.kernel.insert_key(hash, 1_000_000).expect("room");
    let frame = frame("astray", 1, 1);
    assert_eq!(host.outcome_of(&frame), Outcome::Fault);
    assert_eq!(host.run(&frame).action, XDP_PASS);
}
