//! Every interleaving of the enforcers on one key, by a model checker: `cargo xtask model` builds this with
//! `--cfg shuttle`, which puts the checker's atomic words and locks in place of the real ones.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use ratelimit_common::SECOND_NS;
use ratelimit_common::account::{Account, Bucket, WindowLimit};
use ratelimit_common::flow::{Credit, FlowState, Recorded};
use ratelimit_common::layout::FlowCell;
use ratelimit_common::limit::{Burst, Charge};
use ratelimit_common::word::Word;
use shuttle::scheduler::DfsScheduler;
use shuttle::sync::Arc;
use shuttle::{Config, Runner, thread};

const NOW: u64 = SECOND_NS;
const SLOT: u32 = 7;
const MOST: usize = 5_000_000;

/// What the enforcers share of one key.
struct Key {
    account: Account,
    bucket: Word,
    burst: Burst,
    hour: WindowLimit,
    rule: WindowLimit,
}

impl Key {
    fn new(capacity: u32, hour: u32, rule: u32) -> Arc<Self> {
        let limit = |window, limit| WindowLimit { window, span_seconds: 3_600, limit, cost: 1 };
        Arc::new(Self {
            account: Account::default(),
            bucket: Word::new(0),
            burst: Burst::per_minute(capacity),
            hour: limit(0, hour),
            rule: limit(1, rule),
        })
    }

    /// The proxy's judgement of a request for which the kernel left `credit`.
    fn judge(&self, credit: Option<Credit>) -> bool {
        let bucket = Bucket { burst: self.burst, word: &self.bucket, cost: 1 };
        self.account.lock().judge([self.hour, self.rule].into_iter(), Some(bucket), credit, NOW).is_ok()
    }

    /// The kernel's judgement of the request at `sequence`: takes a token and leaves a credit.
    fn charge(&self, cell: &FlowCell, sequence: u32) {
        if self.burst.charge(&self.bucket, NOW) == Charge::Taken
            && cell.record(sequence, 10, SLOT, Credit::Paid) != Recorded::Yes
        {
            self.burst.refund(&self.bucket);
        }
    }

    /// What the limits say was charged: to the hour, to the rule, to the bucket.
    fn charged(&self) -> [u64; 3] {
        let mut windows = self.account.lock();
        let used = [self.hour, self.rule].map(|limit| u64::from(windows.used(&limit, NOW).0));
        let tokens = self.burst.capacity() - self.burst.tokens(self.bucket.load(), NOW);
        [used[0], used[1], tokens]
    }
}

/// Checks every interleaving of `model`.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let checked = Runner::new(DfsScheduler::new(Some(MOST), false), Config::new()).run(model);
    assert!(checked < MOST, "the model is too large to be checked");
}

/// Three connections ask the proxy; each limit in turn is the smallest. It is never passed, and is used up.
#[test]
fn requests_at_once_are_charged_to_all_limits_or_to_none() {
    for [capacity, hour, rule] in [[1, 2, 2], [2, 1, 2], [2, 2, 1]] {
        check(move || {
            let key = Key::new(capacity, hour, rule);
            let ask = |key: Arc<Key>| thread::spawn(move || key.judge(None));
            let threads = [ask(key.clone()), ask(key.clone())];
            let mut admitted = u64::from(key.judge(None));
            for thread in threads {
                admitted += u64::from(thread.join().unwrap());
            }
            assert_eq!((admitted, key.charged()), (1, [1; 3]));
        });
    }
}

/// Two connections whose requests the kernel charges before the proxy sees them, and the second of one that the
/// kernel left to the proxy. The last tokens, the last of the hour: whoever gets them, each request is charged once.
#[test]
fn the_kernel_and_the_proxy_charge_a_request_once() {
    for [capacity, hour] in [[1, 2], [2, 1], [1, 1], [2, 3]] {
        check(move || {
            let key = Key::new(capacity, hour, 3);
            let connect = |key: &Key| {
                let cell = FlowCell::default();
                key.charge(&cell, 0);
                u64::from(key.judge(cell.take(SLOT)))
            };
            let other = thread::spawn({
                let key = key.clone();
                move || connect(&key)
            });
            let admitted = connect(&key) + u64::from(key.judge(None)) + other.join().unwrap();
            assert!(admitted <= u64::from(capacity.min(hour)), "{admitted} admitted");
            assert_eq!(key.charged(), [admitted; 3]);
        });
    }
}

/// A connection ends while the kernel charges two requests on it, one of them seen twice. What was charged and no
/// request took is given back: nothing is lost, nothing is given back twice.
#[test]
fn what_is_left_on_a_connection_is_given_back_once() {
    check(|| {
        let key = Key::new(3, 9, 9);
        let cell = Arc::new(FlowCell::default());
        let kernel = thread::spawn({
            let (key, cell) = (key.clone(), cell.clone());
            move || {
                key.charge(&cell, 0);
                key.charge(&cell, 0);
                key.charge(&cell, 10);
            }
        });
        let admitted = u64::from(key.judge(cell.take(SLOT)));
        kernel.join().unwrap();
        let left = FlowState::from_word(cell.state.load());
        (0..left.paid()).for_each(|_| key.burst.refund(&key.bucket));
        assert_eq!(key.charged(), [admitted; 3]);
    });
}
