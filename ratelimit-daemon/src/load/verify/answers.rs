//! Whether answers tell the truth: the fields against the log, against one another and against the body.

use super::{Finding, Judgement, Kind, Limits, Outcome, Promise, Sample, window};
use crate::load::response::Answer;
use std::collections::HashMap;

const SECOND: u64 = 1_000_000_000;

/// Whether a refusal's body is what the contract says, to the letter.
pub(crate) fn body_is_exact(answer: &Answer, body: &[u8]) -> bool {
    let Some(seconds) = answer.retry_after else { return false };
    let expected = format!(
        "{{\"error\":{{\"code\":\"rate_limit_exceeded\",\"message\":\"API rate limit exceeded. Please retry after \
         {seconds} seconds.\",\"retry_after\":{seconds}}}}}"
    );
    answer.is_json && body == expected.as_bytes()
}

/// Checks the fields of one key's answers. `samples` are in the order of sending.
pub(super) fn check(
    samples: &[Sample],
    promise: &Promise<'_>,
    limits: &Limits<'_>,
    judgement: &mut Judgement,
) {
    let told = samples.iter().filter(|sample| sample.status != 0 && sample.outcome != Outcome::Unknown);
    for sample in told {
        let fault = fault(sample, promise, limits);
        if let Some(text) = fault {
            judgement.add(wrong(sample, text));
        }
    }
    rises(samples, limits, judgement);
    waits(samples, judgement);
}

fn wrong(sample: &Sample, text: String) -> Finding {
    let (at, key) = (sample.answered, sample.key as usize);
    Finding { at, kind: Kind::WrongAnswer, key, limit: "headers".to_owned(), text }
}

/// What is wrong with an answer taken by itself.
fn fault(sample: &Sample, promise: &Promise<'_>, limits: &Limits<'_>) -> Option<String> {
    let (Some(limit), Some(remaining), Some(reset)) = (sample.limit, sample.remaining, sample.reset) else {
        return Some(format!("a field is missing from the answer with status {}", sample.status));
    };
    let described = described(sample, limits);
    if described.is_empty() {
        return Some(format!("X-RateLimit-Limit: {limit} is none of the key's limits"));
    }
    let ranges = || described.iter().map(|log| log.remaining(sample));
    if !ranges().any(|range| range.contains(&remaining)) {
        let ranges: Vec<_> = ranges().map(|range| format!("{} to {}", range.start(), range.end())).collect();
        return Some(format!("X-RateLimit-Remaining: {remaining}, and it can be {}", ranges.join(" or ")));
    }
    let (earliest, latest) = match (sample.outcome, sample.retry_after) {
        (Outcome::Refused, None | Some(0)) => return Some("a refusal without a time to wait".to_owned()),
        (Outcome::Refused, Some(seconds)) => {
            let wait = u64::from(seconds) * SECOND;
            (sample.sent + wait, sample.answered + wait)
        }
        _ if remaining == 0 => return None,
        _ => described.iter().find_map(|log| log.oldest_leaves(sample))?,
    };
    // Seconds may be rounded either way.
    let (earliest, latest) = ((promise.epoch + earliest) / SECOND, (promise.epoch + latest).div_ceil(SECOND));
    let is_right = (earliest..=latest).contains(&reset);
    (!is_right).then(|| format!("X-RateLimit-Reset: {reset}, and it can be {earliest} to {latest}"))
}

/// The limits that an answer may describe: those whose number it tells.
fn described<'l, 'a>(sample: &Sample, limits: &'l Limits<'a>) -> Vec<&'l window::Log<'a>> {
    let own = limits.rule(sample).into_iter().chain([&limits.hour]);
    own.filter(|log| sample.limit == Some(log.limit())).collect()
}

/// What remains must not rise from one answer to a request sent after it, while nothing leaves the window.
fn rises(samples: &[Sample], limits: &Limits<'_>, judgement: &mut Judgement) {
    let told = |sample: &&Sample| sample.remaining.is_some() && sample.outcome != Outcome::Unknown;
    let mut by_answer: Vec<_> = samples.iter().filter(told).collect();
    by_answer.sort_by_key(|sample| sample.answered);
    let mut by_answer = by_answer.into_iter().peekable();
    // The least that was told so far, by the limit that it was told of.
    let mut least: HashMap<(Option<u16>, Option<u32>), u32> = HashMap::new();
    let described = |sample: &Sample| {
        let of_rule = limits.rule(sample).is_some_and(|log| sample.limit == Some(log.limit()));
        (sample.rule.filter(|_| of_rule), sample.limit)
    };
    for sample in samples.iter().filter(told) {
        while let Some(before) = by_answer.next_if(|before| before.answered <= sample.sent) {
            let told = before.remaining.unwrap_or(u32::MAX);
            least.entry(described(before)).and_modify(|least| *least = told.min(*least)).or_insert(told);
        }
        let stays = described_stays(sample, limits);
        if let (true, Some(least), Some(remaining)) = (stays, least.get(&described(sample)), sample.remaining)
            && remaining > *least
        {
            judgement.add(wrong(sample, format!("X-RateLimit-Remaining rises from {least} to {remaining}")));
        }
    }
}

/// Whether nothing can have left the windows that an answer describes.
fn described_stays(sample: &Sample, limits: &Limits<'_>) -> bool {
    described(sample, limits).iter().all(|log| log.oldest_leaves(sample).is_some())
}

/// A client that waits as long as it was told, and whose key sends nothing else meanwhile, must be admitted.
pub(super) fn waits(samples: &[Sample], judgement: &mut Judgement) {
    let mut last_answer = 0;
    for (place, refused) in samples.iter().enumerate() {
        let is_alone = refused.sent >= last_answer;
        last_answer = last_answer.max(refused.answered);
        let mut after = samples.iter().skip(place + 1);
        let Some((seconds, next)) = refused.retry_after.filter(|_| is_alone).zip(after.next()) else {
            continue;
        };
        // One that is under way with the next may have been judged before it.
        let next_is_alone = after.next().is_none_or(|other| other.sent >= next.answered);
        let has_waited = next.sent >= refused.answered + u64::from(seconds) * SECOND;
        let are_refused = [refused, next].iter().all(|sample| sample.outcome == Outcome::Refused);
        if has_waited && next_is_alone && are_refused && refused.rule == next.rule {
            judgement
                .add(wrong(next, format!("refused after the {seconds} s that the client was told to wait")));
        }
    }
}
