//! The referee: was anybody admitted whom the limits refuse, or refused whom they admit, and do the answers tell the truth?
//!
//! The model is the definition of the limits over an exact log of each key's requests. It shares no code with the limiter,
//! which `cargo xtask lint` checks: two wrongs that agree would prove nothing.
//!
//! A client does not know when the server judged a request, only that it was between sending it and having the answer. So
//! nothing is called wrong that some choice of such instants explains, with what the contract grants besides: a window
//! may forget up to a second late. What is called wrong is wrong however the network behaved.
//!
//! The keys must not have been used in the hour before, or what the limiter remembers of that looks like a mistake.

mod answers;
mod bucket;
#[cfg(test)]
mod tests;
mod tree;
mod window;

pub(crate) use answers::body_is_exact;

use super::scenario::{Rule, Scenario};
use serde::Serialize;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Findings of each kind that are kept to be shown; all are counted.
const KEPT: usize = 20;

/// A request as its client saw it. Instants are nanoseconds on the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) key: u32,
    /// The rule that it falls under, by its place in the scenario.
    pub(crate) rule: Option<u16>,
    pub(crate) outcome: Outcome,
    /// Just before it was sent.
    pub(crate) sent: u64,
    /// Just after its outcome was known.
    pub(crate) answered: u64,
    /// 0 without an answer.
    pub(crate) status: u16,
    pub(crate) limit: Option<u32>,
    pub(crate) remaining: Option<u32>,
    pub(crate) reset: Option<u64>,
    pub(crate) retry_after: Option<u32>,
}

/// What the limits said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    Refused,
    /// It may have been charged or not: it was not answered, or refused for another reason than a limit.
    Unknown,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) samples: Vec<Sample>,
    /// Refusals with another body than the contract's: when, of which key, the body.
    pub(crate) wrong_bodies: Vec<(u64, usize, String)>,
}

impl Seen {
    pub(crate) fn merge(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.wrong_bodies.extend(other.wrong_bodies);
    }
}

/// The limits of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise<'a> {
    /// Capacity of the bucket, which refills in a minute.
    pub(crate) burst: u32,
    /// Requests in any hour.
    pub(crate) hour: u32,
    pub(crate) rules: &'a [Rule],
    /// Whether answers tell how the limits stand.
    pub(crate) headers: bool,
    /// Unix time of the monotonic clock's zero, in nanoseconds.
    pub(crate) epoch: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Nanoseconds on the monotonic clock.
    #[serde(skip)]
    pub(crate) at: u64,
    pub(crate) kind: Kind,
    #[serde(skip)]
    pub(crate) key: usize,
    /// The name of the limit.
    pub(crate) limit: String,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    WronglyAdmitted,
    WronglyRefused,
    /// An answer that does not tell the truth.
    WrongAnswer,
}

/// What the referee says.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Requests that were admitted or refused.
    pub(crate) judged: u64,
    /// Requests of which it is not known.
    pub(crate) unknown: u64,
    pub(crate) wrongly_admitted: u64,
    pub(crate) wrongly_refused: u64,
    pub(crate) wrong_answers: u64,
    /// The earliest of them, in order.
    pub(crate) findings: Vec<Finding>,
}

impl Judgement {
    pub(crate) fn is_clean(&self) -> bool {
        self.wrongly_admitted + self.wrongly_refused + self.wrong_answers == 0
    }

    fn add(&mut self, finding: Finding) {
        match finding.kind {
            Kind::WronglyAdmitted => self.wrongly_admitted += 1,
            Kind::WronglyRefused => self.wrongly_refused += 1,
            Kind::WrongAnswer => self.wrong_answers += 1,
        }
        self.findings.push(finding);
        // Room for twice as many, so that sorting them is rare.
        if self.findings.len() > 2 * KEPT {
            self.keep_the_earliest();
        }
    }

    fn keep_the_earliest(&mut self) {
        self.findings.sort_by_key(|finding| finding.at);
        self.findings.truncate(KEPT);
    }
}

/// Judges everything that was seen in a run of `scenario`. `epoch` is the Unix time of the monotonic clock's zero.
pub(crate) fn judge(mut seen: Seen, scenario: &Scenario, epoch: u64) -> Judgement {
    let mut judgement = Judgement::default();
    seen.samples.sort_by_key(|sample| (sample.key, sample.sent));
    let mut tiers = scenario
        .populations
        .iter()
        .flat_map(|population| std::iter::repeat_n(scenario.tier_of(population), population.keys as usize));
    let mut next_key = 0;
    for samples in seen.samples.chunk_by(|one, other| one.key == other.key) {
        let key = samples.first().map_or(0, |sample| sample.key) as usize;
        let tier = tiers.nth(key - next_key).flatten();
        next_key = key + 1;
        let Some(tier) = tier else { continue };
        let promise = Promise {
            burst: tier.burst_per_minute,
            hour: tier.requests_per_hour,
            rules: &scenario.rules,
            headers: scenario.expect.headers,
            epoch,
        };
        judge_key(samples, &promise, &mut judgement);
    }
    if scenario.expect.headers {
        for (at, key, body) in seen.wrong_bodies {
            let text = format!("the body of a refusal is {body:?}");
            judgement.add(Finding { at, kind: Kind::WrongAnswer, key, limit: "body".to_owned(), text });
        }
    }
    judgement.keep_the_earliest();
    judgement
}

/// Judges one key's samples, which are in the order of sending.
fn judge_key(samples: &[Sample], promise: &Promise<'_>, judgement: &mut Judgement) {
    let unknown = samples.iter().filter(|sample| sample.outcome == Outcome::Unknown).count() as u64;
    judgement.unknown += unknown;
    judgement.judged += samples.len() as u64 - unknown;
    let limits = Limits::new(samples, promise);
    // A request that is over several limits is one request.
    let mut over: Vec<_> = limits.over().collect();
    over.sort_by_key(|(sample, ..)| (sample.sent, sample.answered));
    over.dedup_by_key(|(sample, ..)| std::ptr::from_ref(*sample));
    for (sample, limit, text) in over {
        judgement.add(finding(sample, Kind::WronglyAdmitted, limit, text));
    }
    for sample in limits.refused_within(samples) {
        let text = "refused although every limit had room, however long the network took".to_owned();
        judgement.add(finding(sample, Kind::WronglyRefused, "all", text));
    }
    if promise.headers {
        answers::check(samples, promise, &limits, judgement);
    }
}

fn finding(sample: &Sample, kind: Kind, limit: &str, text: String) -> Finding {
    Finding { at: sample.answered, kind, key: sample.key as usize, limit: limit.to_owned(), text }
}

/// The limits of a key with the exact log of each.
#[derive(Debug)]
struct Limits<'a> {
    bucket: bucket::Log<'a>,
    hour: window::Log<'a>,
    /// Those of which anything was sent, by their place in the scenario.
    rules: Vec<(u16, &'a str, window::Log<'a>)>,
}

impl<'a> Limits<'a> {
    fn new(samples: &'a [Sample], promise: &Promise<'a>) -> Self {
        let mut places: Vec<_> = samples.iter().filter_map(|sample| sample.rule).collect();
        places.sort_unstable();
        places.dedup();
        let rule = |place: u16| {
            let rule = promise.rules.get(usize::from(place))?;
            let own = samples.iter().filter(move |sample| sample.rule == Some(place));
            Some((place, rule.name.as_str(), window::Log::new(own, rule.limit, rule.window)))
        };
        Self {
            bucket: bucket::Log::new(samples, promise.burst),
            hour: window::Log::new(samples.iter(), promise.hour, HOUR),
            rules: places.into_iter().filter_map(rule).collect(),
        }
    }

    fn rule(&self, sample: &Sample) -> Option<&window::Log<'a>> {
        let own = sample.rule?;
        self.rules.iter().find(|(place, ..)| *place == own).map(|(.., log)| log)
    }

    /// Every admitted request that was over a limit, with that limit's name and what it says.
    fn over(&self) -> impl Iterator<Item = (&'a Sample, &str, String)> {
        let bucket = self.bucket.over().into_iter().map(|(sample, text)| (sample, "burst", text));
        let hour = self.hour.over().into_iter().map(|(sample, text)| (sample, "hour", text));
        let rules = self.rules.iter().flat_map(|(_, name, log)| {
            log.over().into_iter().map(move |(sample, text)| (sample, *name, text))
        });
        bucket.chain(hour).chain(rules)
    }

    /// The refused requests for which every limit surely had room.
    fn refused_within<'s>(&self, samples: &'s [Sample]) -> Vec<&'s Sample> {
        let mut refused: Vec<_> =
            samples.iter().filter(|sample| sample.outcome == Outcome::Refused).collect();
        refused.retain(|sample| {
            self.hour.surely_admits(sample) && self.rule(sample).is_none_or(|log| log.surely_admits(sample))
        });
        self.bucket.retain_surely_admitted(&mut refused);
        refused
    }
}
