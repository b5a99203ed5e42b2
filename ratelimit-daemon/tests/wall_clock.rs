//! A step of the wall clock frees nobody and blocks nobody. By itself, because the clock is the whole process's.

// In a test a panic is the report, in its helpers too; and nobody but the test runner calls what is here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "proxy/client.rs"]
#[expect(dead_code, reason = "shared with the proxy's tests, which use more of it")]
mod client;
#[path = "proxy/host.rs"]
#[expect(dead_code, reason = "shared with the proxy's tests, which use more of it")]
mod host;
#[path = "proxy/origin.rs"]
#[expect(dead_code, reason = "shared with the proxy's tests, which use more of it")]
mod origin;

use host::{BURST, HOURLY, Host, KEY, PROFESSIONAL};
use origin::Origin;
use ratelimit_daemon::clock;

const DAY: i64 = 86_400;

#[test]
fn a_step_of_a_day_forth_or_back_changes_no_verdict() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..BURST {
        assert_eq!(client.get("/", KEY).status, 200);
        assert_eq!(client.get("/", HOURLY).status, 200);
    }
    let mut last_wait = 3_601;
    for (number, step) in (1..).zip([0, DAY, -DAY, 0]) {
        clock::step_unix(step);
        let admitted = client.ask("POST", "/courses/7/export", PROFESSIONAL);
        assert_eq!(
            (admitted.status, admitted.left_of("export"), admitted.left_of("hour")),
            (200, 10 - number, 1_000 - number)
        );
        let burst = client.get("/", KEY);
        assert_eq!((burst.status, burst.left_of("burst")), (429, 0), "after a step of {step} s");
        let before = clock::unix_seconds();
        let hour = client.get("/", HOURLY);
        let wait = hour.number("Retry-After");
        assert_eq!(hour.status, 429, "after a step of {step} s");
        assert!((3_500..=last_wait).contains(&wait), "{wait}, after a step of {step} s");
        last_wait = wait;
        // What is shown follows the wall clock.
        let reset = hour.number("X-RateLimit-Reset");
        assert!(
            (before + wait..=clock::unix_seconds() + wait + 1).contains(&reset),
            "{reset}, {before} + {wait}"
        );
    }
}
