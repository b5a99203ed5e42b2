//! Whatever comes in: the program finds what the same code finds in user space, passes what it cannot judge
//! unchanged, and charges no key that is not there.

use crate::frames::{Frame, Network, PORT, request};
use crate::host::{Host, KEY, OTHER_KEY, SECRET, XDP_PASS, fields};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ratelimit_common::hash::hash_bytes;
use ratelimit_common::http::request_key;
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::parse;
use std::cell::RefCell;

/// What the shared code finds in `frame`: a skip, or the hash of a key.
fn found(frame: &[u8]) -> Result<u64, Outcome> {
    let segment = parse(frame, || frame.len(), |port| port == PORT || port == 443)?;
    request_key(&segment, &fields(), SECRET)
}

/// A good frame with some bytes changed and perhaps cut or extended.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just(format!("X-API-Key: {KEY}")),
        Just(format!("Authorization: Bearer {KEY}")),
        "[XxAa][-a-zA-Z:]{0,20}[ \\t]{0,3}[!-~]{0,70}",
        "(X-API-Key|Authorization: Bearer)[:\\r\\n \\t]{1,4}[!-~]{0,20}(\\r\\n|\\n|\\r)[ -~]{0,9}",
    ];
    let network = prop_oneof![Just(Network::V4), Just(Network::V6)];
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..4);
    let length = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (field, network, 0..3_usize, 57..1_300_usize, changes, length).prop_map(
        |(field, network, vlans, before, changes, length)| {
            let mut bytes = Frame { network, vlans, ..Frame::new(request(before, &field)) }.bytes();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(length) = length {
                bytes.truncate(14 + length.index(bytes.len() - 14));
            }
            bytes
        },
    )
}

#[test]
fn the_program_finds_what_the_same_code_finds_in_user_space() {
    let host = RefCell::new(Host::new(Action::Drop, 10_000_000));
    for network in [Network::V4, Network::V6] {
        host.borrow_mut().establish(&Frame { network, ..Frame::new("") });
    }
    let known = [KEY, OTHER_KEY].map(|key| hash_bytes(SECRET, key.as_bytes()));
    let mut runner = TestRunner::new(Config { cases: 20_000, ..Config::default() });
    let result = runner.run(&mutated(), |frame| {
        let outcome = host.borrow_mut().outcome(&frame);
        match found(&frame) {
            Err(skip) => prop_assert_eq!(outcome, skip),
            Ok(hash) if known.contains(&hash) => {
                // A change of the addresses, the ports or the numbers makes it nobody's segment.
                let judged = [
                    Outcome::Early,
                    Outcome::Admitted,
                    Outcome::Retransmit,
                    Outcome::FlowFull,
                    Outcome::Unexpected,
                ];
                prop_assert!(judged.contains(&outcome), "{:?}", outcome);
            }
            Ok(_) => prop_assert_eq!(outcome, Outcome::UnknownKey),
        }
        Ok(())
    });
    result.expect("kernel and user space agree");
}

#[test]
fn noise_is_passed_unchanged_and_charges_nobody() {
    let host = RefCell::new(Host::new(Action::Reset, 1));
    let mut runner = TestRunner::new(Config { cases: 5_000, ..Config::default() });
    let result = runner.run(&prop::collection::vec(any::<u8>(), 14..1_514), |frame| {
        let output = host.borrow_mut().run_bytes(&frame);
        prop_assert_eq!(output.action, XDP_PASS);
        prop_assert_eq!(output.frame, frame);
        Ok(())
    });
    result.expect("nothing happens");
    assert_eq!(host.borrow().charged(), 0);
}
