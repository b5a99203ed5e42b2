//! A refused request whose packet cannot be turned into an answer.

use crate::frames::{Frame, request};
use crate::host::{Host, KEY, SLOT, XDP_PASS, settings};
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;
use ratelimit_daemon::clock;
use ratelimit_daemon::kernel::KernelSettings;

/// The program behind this one could not answer it either, so the proxy gets it, on a connection as it was.
#[test]
fn a_packet_with_ip_options_is_left_to_the_proxy() {
    let settings = KernelSettings { late_answers: true, ..settings(Action::Reply) };
    let mut host = Host::with(settings, 1);
    host.slot(SLOT).bucket.store(clock::now() + 3_600_000_000_000);
    let frame = Frame { ip_options: true, ..Frame::new(request(57, &format!("X-API-Key: {KEY}"))) };
    for _ in 0..2 {
        assert_eq!(host.outcome_of(&frame), Outcome::NoRoom);
        assert_eq!(host.run(&frame).action, XDP_PASS);
    }
    assert_eq!(host.slot(SLOT).refused_burst.load(), 0, "the proxy counts it");
}
