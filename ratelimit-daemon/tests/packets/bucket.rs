//! One bucket, two enforcers: the kernel and user space charge the same word at the same time.

use crate::frames::{CLIENT_V4, Frame, HOST_V4, PORT, request};
use crate::host::{Host, KEY, SLOT};
use ratelimit_common::layout::Action;
use ratelimit_common::limit::{Burst, Charge};
use ratelimit_daemon::clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn both_together_never_grant_more_than_capacity_and_refill() {
    const BURST: u32 = 60_000;
    const REQUESTS: u16 = 20_000;
    let mut host = Host::new(Action::Drop, BURST);
    let burst = Burst::per_minute(BURST);
    let slots = host.kernel.slots().clone();
    let stop = AtomicBool::new(false);
    let started = clock::now();
    let (user, kernel) = thread::scope(|scope| {
        let user = scope.spawn(|| {
            let word = &slots.get(SLOT).expect("a slot").bucket;
            let mut granted = 0;
            while !stop.load(Ordering::Relaxed) {
                granted += u64::from(burst.charge(word, clock::now()) == Charge::Taken);
            }
            granted
        });
        for port in 0..REQUESTS {
            let head = request(57, &format!("X-API-Key: {KEY}"));
            let frame = Frame { client_port: port, ..Frame::new(head) };
            host.run(&frame);
            host.disconnect(&frame);
            host.kernel.flows().open((CLIENT_V4, port).into(), (HOST_V4, PORT).into()).release();
        }
        stop.store(true, Ordering::Relaxed);
        (user.join().expect("the charging thread"), host.slot(SLOT).admitted.load())
    });
    let elapsed = clock::now() - started;
    let refilled = elapsed / burst.interval_ns();
    assert!(user > 0 && kernel > 0, "both charge: {user} and {kernel}");
    assert!(user + kernel <= u64::from(BURST) + refilled, "{user} and {kernel} of {BURST} and {refilled}");
    // It was contended to the last token: nobody was refused while there was one.
    let left = burst.tokens(host.slot(SLOT).bucket.load(), clock::now());
    assert!(user + kernel + left + 1 >= u64::from(BURST), "{user} and {kernel}, and {left} left, of {BURST}");
}
