//! Histories of a limiter that is exact are right; the same with one verdict turned round are not.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u128 = 60_000_000_000;

/// Long after the clock's zero, so that an hour before is still an instant.
const START: u64 = 10_000 * SECOND;

/// The Unix time of the clock's zero.
const EPOCH: u64 = 1_600_000_000 * SECOND;

/// A limiter by the definition, which judges one request after the other.
struct Exact {
    burst: u32,
    hour: u32,
    rule: Rule,
    /// Nanoseconds that its windows are late to forget.
    late: u64,
    tokens: u128,
    refilled: u64,
    admitted: Vec<(u64, bool)>,
}

impl Exact {
    fn new(burst: u32, hour: u32, rule: Rule, late: u64) -> Self {
        let tokens = u128::from(burst) * MINUTE;
        Self { burst, hour, rule, late, tokens, refilled: 0, admitted: Vec::new() }
    }

    fn used(&self, now: u64, length: u64, of_rule: bool) -> u32 {
        let inside = |(at, own): &&(u64, bool)| at + length + self.late > now && (!of_rule || *own);
        self.admitted.iter().filter(inside).count() as u32
    }

    /// What a token takes: where windows are late, a bucket is too, as in a limiter that counts whole nanoseconds.
    fn needed(&self) -> u128 {
        let burst = u128::from(self.burst);
        let slack = if self.late == 0 { 0 } else { burst * burst };
        (MINUTE + slack).min(burst * MINUTE)
    }

    /// Nanoseconds until a window has room.
    fn window_wait(&self, now: u64, length: u64, of_rule: bool, limit: u32) -> u64 {
        let own = self.admitted.iter().filter(|(_, own)| !of_rule || *own);
        let leaves: Vec<_> = own.map(|(at, _)| at + length + self.late).filter(|at| *at > now).collect();
        let over = (leaves.len() + 1).saturating_sub(limit as usize);
        over.checked_sub(1).map_or(0, |last| leaves[last] - now)
    }

    /// Nanoseconds until a request that was refused at `now` is admitted.
    fn wait(&self, now: u64, of_rule: bool) -> u64 {
        let bucket = self.needed().saturating_sub(self.tokens).div_ceil(self.burst.into()) as u64;
        let hour = self.window_wait(now, 3_600 * SECOND, false, self.hour);
        let window = self.rule.window.as_nanos() as u64;
        let rule = if of_rule { self.window_wait(now, window, true, self.rule.limit) } else { 0 };
        bucket.max(hour).max(rule)
    }

    fn judge(&mut self, now: u64, of_rule: bool) -> (Outcome, u32) {
        let refill = u128::from(now - self.refilled) * u128::from(self.burst);
        self.tokens = (u128::from(self.burst) * MINUTE).min(self.tokens + refill);
        self.refilled = now;
        let window = self.rule.window.as_nanos() as u64;
        let admits = self.tokens >= self.needed()
            && self.used(now, 3_600 * SECOND, false) < self.hour
            && (!of_rule || self.used(now, window, true) < self.rule.limit);
        if admits {
            self.tokens -= MINUTE;
            self.admitted.push((now, of_rule));
        }
        let outcome = if admits { Outcome::Admitted } else { Outcome::Refused };
        (outcome, self.hour.saturating_sub(self.used(now, 3_600 * SECOND, false)))
    }
}

/// A request: nanoseconds after the one before, to its judgement, from there to its answer, and whether it falls under the
/// rule.
type Request = (u64, u64, u64, bool);

#[derive(Debug, Clone)]
struct History {
    burst: u32,
    hour: u32,
    rule: Rule,
    requests: Vec<Request>,
}

impl History {
    /// What a client sees of a limiter whose windows are so late.
    fn seen(&self, late: u64) -> Vec<Sample> {
        let mut exact = Exact::new(self.burst, self.hour, self.rule.clone(), late);
        let mut sent = START;
        let mut samples: Vec<(u64, Sample)> = Vec::new();
        for (gap, to, from, of_rule) in &self.requests {
            sent += gap;
            let sample = Sample {
                key: 0,
                rule: of_rule.then_some(0),
                outcome: Outcome::Unknown,
                sent,
                answered: sent + to + from,
                status: 200,
                limit: Some(self.hour),
                remaining: None,
                reset: None,
                retry_after: None,
            };
            samples.push((sent + to, sample));
        }
        samples.sort_by_key(|(judged, _)| *judged);
        for (judged, sample) in &mut samples {
            let (outcome, remaining) = exact.judge(*judged, sample.rule.is_some());
            (sample.outcome, sample.remaining) = (outcome, Some(remaining));
            let wait = exact.wait(*judged, sample.rule.is_some()).div_ceil(SECOND).max(1);
            sample.retry_after = (outcome == Outcome::Refused).then_some(wait as u32);
        }
        let mut samples: Vec<_> = samples.into_iter().map(|(_, sample)| sample).collect();
        samples.sort_by_key(|sample| sample.sent);
        samples
    }

    fn judge(&self, samples: &[Sample]) -> Judgement {
        let rules = [self.rule.clone()];
        let promise =
            Promise { burst: self.burst, hour: self.hour, rules: &rules, headers: false, epoch: EPOCH };
        let mut judgement = Judgement::default();
        judge_key(samples, &promise, &mut judgement);
        judgement
    }
}

fn history(latency: u64) -> impl Strategy<Value = History> {
    let gap = prop_oneof![
        Just(0),
        0..1_000_000_u64,
        0..2_000_000_000_u64,
        0..90_000_000_000_u64,
        Just(1_700 * SECOND)
    ];
    let request = (gap, 0..=latency, 0..=latency, any::<bool>());
    (1..40_u32, 1..60_u32, 1..10_u32, 1..100_u64, prop::collection::vec(request, 1..150)).prop_map(
        |(burst, hour, limit, seconds, requests)| {
            let rule = Rule { name: "rule".into(), limit, window: Duration::from_secs(seconds) };
            History { burst, hour, rule, requests }
        },
    )
}

proptest! {
    /// However the network behaved, and however late in its second the limiter forgets.
    #[test]
    fn an_exact_limiter_is_never_accused(
        (history, late) in ((0..3_000_000_000_u64).prop_flat_map(history), 0..=SECOND)
    ) {
        let judgement = history.judge(&history.seen(late));
        prop_assert!(judgement.is_clean(), "{:?}", judgement.findings);
    }

    /// Whoever waits as told is admitted by an exact limiter, so nobody who did is said to have been refused.
    #[test]
    fn waits_that_are_told_right_are_never_called_wrong(
        (history, late) in ((0..3_000_000_000_u64).prop_flat_map(history), 0..=SECOND)
    ) {
        let mut judgement = Judgement::default();
        answers::waits(&history.seen(late), &mut judgement);
        prop_assert!(judgement.is_clean(), "{:?}", judgement.findings);
    }

    /// Answers that were lost do not make the others wrong.
    #[test]
    fn what_is_not_known_accuses_nobody(history in history(5_000_000), lost in prop::collection::vec(any::<bool>(), 150)) {
        let mut samples = history.seen(0);
        for (sample, lost) in samples.iter_mut().zip(lost) {
            if lost {
                sample.outcome = Outcome::Unknown;
            }
        }
        let judgement = history.judge(&samples);
        prop_assert!(judgement.is_clean(), "{:?}", judgement.findings);
    }

    /// One request too many is found, where the network leaves no doubt.
    #[test]
    fn one_admitted_too_many_is_found(history in history(0), which in any::<prop::sample::Index>()) {
        let mut samples = history.seen(0);
        let refused: Vec<_> = samples.iter_mut().filter(|sample| sample.outcome == Outcome::Refused).collect();
        prop_assume!(!refused.is_empty());
        let place = which.index(refused.len());
        if let Some(sample) = refused.into_iter().nth(place) {
            sample.outcome = Outcome::Admitted;
        }
        let judgement = history.judge(&samples);
        prop_assert!(judgement.wrongly_admitted > 0);
    }

    /// One request refused without need is found.
    #[test]
    fn one_refused_wrongly_is_found(history in history(0), which in any::<prop::sample::Index>()) {
        let mut samples = history.seen(SECOND);
        let admitted: Vec<_> = samples.iter_mut().filter(|sample| sample.outcome == Outcome::Admitted).collect();
        prop_assume!(!admitted.is_empty());
        let place = which.index(admitted.len());
        if let Some(sample) = admitted.into_iter().nth(place) {
            sample.outcome = Outcome::Refused;
        }
        let judgement = history.judge(&samples);
        prop_assert!(judgement.wrongly_refused > 0);
    }

    /// What an exact limiter tells of the hour is never called wrong.
    #[test]
    fn what_remains_is_within_what_can_remain(history in history(3_000_000), late in 0..=SECOND) {
        let samples = history.seen(late);
        let hour = window::Log::new(samples.iter(), history.hour, HOUR);
        for sample in &samples {
            let range = hour.remaining(sample);
            prop_assert!(sample.remaining.is_some_and(|told| range.contains(&told)), "{sample:?} {range:?}");
        }
    }
}

fn example() -> (History, Vec<Sample>) {
    let rule = Rule { name: "rule".into(), limit: 5, window: HOUR };
    let requests = vec![(SECOND, 1_000_000, 1_000_000, false); 8];
    let history = History { burst: 5, hour: 1_000, rule, requests };
    let mut samples = history.seen(0);
    for sample in &mut samples {
        let unix = EPOCH + sample.answered;
        sample.reset = Some(match sample.outcome {
            Outcome::Refused => (unix + 12 * SECOND).div_ceil(SECOND),
            _ => (EPOCH + START + SECOND + 3_600 * SECOND).div_ceil(SECOND),
        });
        sample.retry_after = (sample.outcome == Outcome::Refused).then_some(12);
    }
    (history, samples)
}

fn told(change: impl FnOnce(&mut [Sample])) -> String {
    let (history, mut samples) = example();
    change(&mut samples);
    let promise = Promise { burst: 5, hour: 1_000, rules: &[history.rule], headers: true, epoch: EPOCH };
    let mut judgement = Judgement::default();
    judge_key(&samples, &promise, &mut judgement);
    judgement.keep_the_earliest();
    judgement.findings.first().map(|finding| finding.text.clone()).unwrap_or_default()
}

#[test]
fn answers_that_tell_the_truth_are_right() {
    assert_eq!(told(|_| ()), "");
}

/// The best-known mistake: a count that starts anew each minute admits twice its limit around the turn of it.
#[test]
fn a_window_that_stands_still_is_caught() {
    let rule = Rule { name: "rule".into(), limit: 5, window: Duration::from_secs(60) };
    let mut requests = vec![(100_000_000, 1_000, 1_000, true); 10];
    for (gap, request) in [(15 * SECOND, 0), (6 * SECOND, 5)] {
        requests[request].0 = gap;
    }
    let history = History { burst: 1_000, hour: 1_000, rule, requests };
    let mut samples = history.seen(0);
    let minutes: std::collections::BTreeSet<_> =
        samples.iter().map(|sample| sample.sent / (60 * SECOND)).collect();
    assert_eq!(minutes.len(), 2, "five in one minute and five in the next");
    samples.iter_mut().for_each(|sample| sample.outcome = Outcome::Admitted);
    let judgement = history.judge(&samples);
    assert_eq!((judgement.wrongly_admitted, judgement.wrongly_refused), (5, 0), "{judgement:?}");
    assert!(judgement.findings.iter().all(|finding| finding.limit == "rule"), "{judgement:?}");
}

type Change = fn(&mut [Sample]);

#[test]
fn each_untruth_is_told() {
    let cases: [(Change, &str); 7] = [
        (|samples| samples[2].remaining = Some(998), "X-RateLimit-Remaining: 998, and it can be 997 to 997"),
        (|samples| samples[2].remaining = None, "a field is missing"),
        (|samples| samples[2].limit = Some(7), "X-RateLimit-Limit: 7 is none of the key's limits"),
        (|samples| samples[2].reset = Some(5), "X-RateLimit-Reset: 5, and it can be"),
        (|samples| samples[6].retry_after = None, "a refusal without a time to wait"),
        (|samples| samples[6].retry_after = Some(14), "X-RateLimit-Reset"),
        (|samples| samples[5].outcome = Outcome::Admitted, "admitted although no token of 5 was left"),
    ];
    for (change, expected) in cases {
        let told = told(change);
        assert!(told.starts_with(expected), "{told:?} in place of {expected:?}");
    }
}

#[test]
fn a_client_that_has_waited_and_is_refused_is_told() {
    let text = told(|samples| {
        let wait = 13 * SECOND;
        samples[7].sent += wait;
        samples[7].answered += wait;
        samples[7].reset = samples[7].reset.map(|reset| reset + 13);
    });
    assert!(text.starts_with("refused although every limit had room"), "{text}");
}

#[test]
fn a_wait_that_was_too_short_is_told() {
    let (_, mut samples) = example();
    samples.truncate(8);
    samples[6].retry_after = Some(1);
    samples[7].sent = samples[6].answered + SECOND;
    samples[7].answered = samples[7].sent + 1_000;
    let mut judgement = Judgement::default();
    answers::waits(&samples, &mut judgement);
    let told = judgement.findings.first().map(|finding| finding.text.as_str());
    assert_eq!(told, Some("refused after the 1 s that the client was told to wait"));
}

#[test]
fn the_first_of_many_is_told_first_and_all_are_counted() {
    let (history, mut samples) = example();
    samples = (0..100).map(|number| Sample { key: number, ..samples[0].clone() }).collect();
    samples.iter_mut().for_each(|sample| sample.outcome = Outcome::Refused);
    let mut judgement = Judgement::default();
    let rules = [history.rule.clone()];
    let promise = Promise { burst: 5, hour: 1_000, rules: &rules, headers: false, epoch: EPOCH };
    for sample in samples.iter().rev() {
        judge_key(
            &[Sample { answered: sample.answered + u64::from(sample.key), ..sample.clone() }],
            &promise,
            &mut judgement,
        );
    }
    judgement.keep_the_earliest();
    assert_eq!((judgement.wrongly_refused, judgement.findings.len()), (100, KEPT));
    assert_eq!(judgement.findings[0].key, 0);
}
