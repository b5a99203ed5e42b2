use super::*;
use crate::SECOND_NS;
use proptest::prelude::*;

const HOUR: u32 = 0;

/// One request in a history: seconds since the last, what it costs, which windows it counts in besides the
/// hour, and whether the kernel sees it first.
type Request = (u64, u32, [bool; 2], bool);

fn history() -> impl Strategy<Value = Vec<Request>> {
    let gap = prop_oneof![3 => Just(0), 1 => 0..1_000_000_000_u64, 1 => 0..400_000_000_000_u64];
    let cost = prop_oneof![4 => Just(1), 1 => 1..40_u32];
    prop::collection::vec((gap, cost, any::<[bool; 2]>(), any::<bool>()), 1..200)
}

struct Key {
    windows: Windows,
    word: Word,
    burst: Burst,
    hour: u32,
    rules: [(u32, u32); 2],
}

impl Key {
    fn limits(&self, cost: u32, rules: [bool; 2]) -> Vec<WindowLimit> {
        let hour = WindowLimit { window: HOUR, span_seconds: 3_600, limit: self.hour, cost };
        let rule = |(window, (limit, span_seconds)): (u32, (u32, u32))| WindowLimit {
            window,
            span_seconds,
            limit,
            cost: 1,
        };
        let rules = (1..).zip(self.rules).zip(rules).filter(|(_, is_chosen)| *is_chosen);
        std::iter::once(hour).chain(rules.map(|(limit, _)| rule(limit))).collect()
    }

    fn judge(&mut self, request: &Request, credit: Option<Credit>, now: u64) -> Result<(), Refusal> {
        let (_, cost, rules, _) = *request;
        let limits = self.limits(cost, rules);
        let bucket = Bucket { burst: self.burst, word: &self.word, cost };
        self.windows.judge(limits.into_iter(), Some(bucket), credit, now)
    }

    /// All that a refusal must leave as it was.
    fn trace(&mut self, now: u64) -> (u64, Vec<u32>) {
        let limits = self.limits(1, [true; 2]);
        // A bucket that has been full for a while is as full as one that is full now.
        (self.word.load().max(now), limits.iter().map(|limit| self.windows.used(limit, now).0).collect())
    }
}

proptest! {
    /// Over any history, with and without the kernel's charges: what is admitted is charged to every limit, what
    /// is refused to none, the told wait is exact, and no limit is ever passed.
    #[test]
    fn a_request_is_charged_to_all_limits_or_to_none(
        hour in 1..60_u32,
        capacity in 1..30_u32,
        rules in any::<[(u8, u8); 2]>(),
        history in history(),
    ) {
        let rules = rules.map(|(limit, span)| (u32::from(limit % 20) + 1, u32::from(span) + 1));
        let burst = Burst::per_minute(capacity);
        let mut key = Key { windows: Windows::default(), word: Word::new(0), burst, hour, rules };
        let mut now = SECOND_NS;
        for request in history {
            let (gap, cost, chosen, kernel_first) = request;
            now += gap;
            let before = key.trace(now);
            // The proxy sees only what the kernel admits.
            let is_paid = kernel_first && burst.charge(&key.word, now) == Charge::Taken;
            match key.judge(&request, is_paid.then_some(Credit::Paid), now) {
                Ok(()) => {
                    let (bucket, used) = key.trace(now);
                    prop_assert_eq!(bucket, before.0 + u64::from(cost.min(capacity)) * burst.interval_ns());
                    let costs = [cost.min(hour), chosen[0].into(), chosen[1].into()];
                    let expected: Vec<_> = before.1.iter().zip(costs).map(|(used, cost)| used + cost).collect();
                    prop_assert_eq!(&used, &expected);
                    let limits = [hour, rules[0].0, rules[1].0];
                    prop_assert!(used.iter().zip(limits).all(|(used, limit)| *used <= limit));
                }
                Err(Refusal { wait_ns, .. }) => {
                    prop_assert_eq!(key.trace(now), before);
                    prop_assert!(key.judge(&request, None, now + wait_ns - 1).is_err(), "admitted before its time");
                    now += wait_ns;
                    prop_assert_eq!(key.judge(&request, None, now), Ok(()));
                }
            }
        }
    }
}

#[test]
fn of_several_limits_the_one_with_the_longest_wait_is_told() {
    let burst = Burst::per_minute(1);
    let mut key =
        Key { windows: Windows::default(), word: Word::new(0), burst, hour: 1, rules: [(1, 30), (1, 7_200)] };
    let request = (0, 1, [true, true], false);
    assert_eq!(key.judge(&request, None, SECOND_NS), Ok(()));
    let over = |key: &mut Key, rules| {
        key.judge(&(0, 1, rules, false), None, SECOND_NS).map_err(|refusal| refusal.over)
    };
    assert_eq!(over(&mut key, [true, true]), Err(Over::Window(2)));
    assert_eq!(over(&mut key, [true, false]), Err(Over::Window(0)));
    key.hour = 9;
    assert_eq!(over(&mut key, [true, false]), Err(Over::Burst));
}

#[test]
fn windows_take_memory_while_they_are_used() {
    let mut windows = Windows::default();
    let limit = WindowLimit { window: 3, span_seconds: 60, limit: 5, cost: 1 };
    assert_eq!((windows.used(&limit, 0), windows.heap_bytes()), ((0, None), 0));
    assert!(windows.charge(&limit, SECOND_NS));
    windows.tidy(61 * SECOND_NS);
    assert_eq!(windows.used(&limit, 61 * SECOND_NS).0, 1);
    windows.tidy(62 * SECOND_NS);
    assert_eq!(windows.heap_bytes(), 0);
}

#[test]
fn threads_admit_exactly_the_smallest_limit() {
    for (hour, rule, capacity) in [(1_000, 5_000, 5_000), (5_000, 1_000, 5_000), (5_000, 5_000, 1_000)] {
        let (account, word) = (Account::default(), Word::new(0));
        let limit = |window, limit| WindowLimit { window, span_seconds: 3_600, limit, cost: 1 };
        let limits = [limit(HOUR, hour), limit(1, rule)];
        let burst = Burst::per_minute(capacity);
        let admit = |_: &u32| {
            let bucket = Bucket { burst, word: &word, cost: 1 };
            account.lock().judge(limits.into_iter(), Some(bucket), None, SECOND_NS).is_ok()
        };
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..2_000).filter(admit).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
        });
        assert_eq!(admitted, 1_000);
        assert_eq!(account.lock().used(&limits[0], SECOND_NS).0, 1_000);
        assert_eq!(account.lock().used(&limits[1], SECOND_NS).0, 1_000);
        assert_eq!(burst.tokens(word.load(), SECOND_NS), u64::from(capacity) - 1_000);
    }
}
