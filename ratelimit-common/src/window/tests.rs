use super::*;
use proptest::prelude::*;

/// The definition: the exact log.
#[derive(Default)]
struct Log(Vec<(u64, u32)>);

impl Log {
    fn used(&self, span: u64, now: u64) -> u32 {
        let inside = self.0.iter().filter(|(at, _)| at + span * SECOND_NS > now);
        inside.map(|(_, requests)| requests).sum()
    }
}

/// Limit, span, and gaps with the requests that follow at once.
fn history() -> impl Strategy<Value = (u32, u32, Vec<(u64, u32)>)> {
    let gap = prop_oneof![Just(0), 0..1_000_000_u64, 0..2_000_000_000_u64, 0..90_000_000_000_u64];
    let requests = prop_oneof![4 => Just(1), 1 => 1..90_u32];
    let limit = prop_oneof![1..60_u32, 1..2_000_u32];
    (limit, prop_oneof![1..70_u32, Just(3_600)], prop::collection::vec((gap, requests), 1..500))
}

proptest! {
    /// In no interval of the span, wherever it starts, is more than the limit admitted; and what is refused
    /// would have been over the limit of a log that forgets one second late.
    #[test]
    fn is_exact_but_for_a_second_on_the_strict_side((limit, span, asked) in history()) {
        let (mut window, mut log, mut now) = (Window::new(span), Log::default(), 5 * SECOND_NS);
        for (gap, requests) in asked {
            now += gap;
            let requests = requests.min(limit);
            if window.wait(limit, requests, now) == 0 {
                prop_assert!(log.used(span.into(), now) + requests <= limit, "over the limit");
                window.charge(requests, now);
                log.0.push((now, requests));
            } else {
                prop_assert!(log.used(u64::from(span) + 1, now) + requests > limit, "refused within the limit");
            }
        }
    }

    /// Refused one nanosecond before the told wait is over, admitted when it is.
    #[test]
    fn the_told_wait_is_exact((limit, span, asked) in history(), lowered in 1..60_u32) {
        let (mut window, mut now) = (Window::new(span), 5 * SECOND_NS);
        for (gap, requests) in asked {
            now += gap;
            if window.wait(limit, requests.min(limit), now) == 0 { window.charge(requests.min(limit), now); }
            // An operator may have lowered the limit below what is used.
            for limit in [limit, lowered.min(limit)] {
                let requests = requests.min(limit);
                let wait = window.wait(limit, requests, now);
                if wait > 0 {
                    prop_assert_eq!(window.clone().wait(limit, requests, now + wait - 1), 1);
                    prop_assert_eq!(window.clone().wait(limit, requests, now + wait), 0);
                }
            }
        }
    }

    #[test]
    fn holds_no_more_counts_than_its_bound((limit, span, asked) in history()) {
        let (mut window, mut now) = (Window::new(span), 0);
        for (gap, requests) in asked {
            now += gap;
            let requests = requests.min(limit);
            if window.wait(limit, requests, now) == 0 { window.charge(requests, now); }
            prop_assert!(window.counts().count() <= limit.min(span + 1) as usize);
            prop_assert_eq!(window.used, window.counts().map(|count| count.requests).sum::<u32>());
            prop_assert_eq!(window.counts().next().map_or(window.oldest, |count| count.second), window.oldest);
        }
    }
}

#[test]
fn the_oldest_request_tells_when_it_leaves() {
    let mut window = Window::new(3_600);
    assert_eq!(window.oldest_leaves(0), None);
    window.charge(1, 1_500_000_000);
    assert_eq!(window.oldest_leaves(SECOND_NS * 2), Some(3_602 * SECOND_NS));
    assert_eq!(window.used(3_602 * SECOND_NS - 1), 1);
    assert_eq!(window.used(3_602 * SECOND_NS), 0);
}

#[test]
fn a_window_that_is_empty_again_takes_no_memory() {
    let mut window = Window::new(60);
    (0..1_000).for_each(|second| window.charge(1, second * SECOND_NS));
    assert!(window.heap_bytes() > 0);
    assert_eq!(window.used(1_061 * SECOND_NS), 0);
    assert_eq!(window.heap_bytes(), 0);
}

#[test]
fn a_step_back_between_processors_is_counted_later() {
    let mut window = Window::new(60);
    window.charge(1, 100 * SECOND_NS);
    window.charge(1, 99 * SECOND_NS);
    assert_eq!(window.oldest_leaves(100 * SECOND_NS), Some(161 * SECOND_NS));
}

#[test]
fn a_shorter_span_forgets_sooner() {
    let mut window = Window::new(3_600);
    window.charge(1, SECOND_NS);
    window.set_span(60);
    assert_eq!(window.wait(1, 1, 2 * SECOND_NS), 60 * SECOND_NS);
}
