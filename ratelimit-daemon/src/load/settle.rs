//! What an answer means: who refused and by which limit, what is counted, and what the client does next.

use super::behaviour::Next;
use super::clients::Job;
use super::connection::Event;
use super::response::Answer;
use super::shared::Board;
use super::tally::{Failure, Note, Refuser, Verdict};
use super::verify::{Outcome, Sample, body_is_exact};
use super::worker::{Timer, Worker};
use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of limits among all; rules follow.
pub(crate) const BURST: usize = 0;
pub(crate) const HOUR: usize = 1;
/// A reset names no limit.
pub(crate) const UNTOLD: usize = 2;
pub(crate) const RULES: usize = 3;

/// Statuses with which the proxy answers by itself, for other reasons than a limit. The API may use them too, so whether such
/// a request was charged is not known.
const REJECTIONS: [u16; 8] = [400, 401, 408, 413, 415, 422, 431, 503];

impl Worker<'_> {
    /// Counts what came of a request, and whether its client sends it again.
    pub(super) fn settle(&mut self, job: &Job, sent: u64, now: u64, event: Event) -> bool {
        let (answer, body) = match event {
            Event::Answered(answer, body) => (Some(answer), body),
            Event::Reset if self.shared.reset_refuses => (None, Vec::new()),
            Event::Reset => return self.fail(job, sent, now, Failure::Reset),
            Event::Closed => return self.fail(job, sent, now, Failure::Closed),
            Event::Unreachable => return self.fail(job, sent, now, Failure::Connect),
            Event::Malformed | Event::Nothing => return self.fail(job, sent, now, Failure::Malformed),
        };
        let verdict =
            answer.as_ref().map_or(Verdict::Refused(Refuser { limit: UNTOLD, by_kernel: true }), |answer| {
                self.verdict(job, answer)
            });
        self.note(job, now, answer.as_ref().map_or(0, |answer| answer.status), verdict);
        if self.shared.verify {
            self.keep(job, sent, now, verdict, answer.as_ref(), &body);
        }
        self.go_on(job, answer.as_ref(), now)
    }

    fn verdict(&self, job: &Job, answer: &Answer) -> Verdict {
        match answer.status {
            429 => Verdict::Refused(Refuser { limit: self.limit(job, answer), by_kernel: !answer.has_date }),
            status if REJECTIONS.contains(&status) => Verdict::Rejected,
            _ => Verdict::Admitted,
        }
    }

    /// The limit that an answer names: the one that its fields describe if nothing of it remains, else the bucket, which they
    /// never describe.
    fn limit(&self, job: &Job, answer: &Answer) -> usize {
        if answer.remaining != Some(0) {
            return BURST;
        }
        let rule = self.shared.rule_of(job).filter(|(_, limit)| answer.limit == Some(*limit));
        rule.map_or(HOUR, |(place, _)| RULES + place)
    }

    fn note(&mut self, job: &Job, now: u64, status: u16, verdict: Verdict) {
        let board = self.shared.boards.get(self.index);
        if let Some(Board { admitted, refused, failed }) = board {
            let counter = match verdict {
                Verdict::Admitted => admitted,
                Verdict::Refused(_) => refused,
                Verdict::Rejected | Verdict::Failed(_) => failed,
            };
            increment(counter);
        }
        let endpoint = self.shared.clients.endpoint(job).map_or(0, |endpoint| endpoint.place);
        let (latency, at) = (now.saturating_sub(job.due), now.saturating_sub(self.shared.start));
        self.tally.note(&Note { key: job.key, endpoint, status, verdict, latency, at });
    }

    /// Counts a request that was not answered. Nothing is sent again.
    pub(super) fn fail(&mut self, job: &Job, sent: u64, now: u64, why: Failure) -> bool {
        self.note(job, now, 0, Verdict::Failed(why));
        // Without a connection nothing was sent that could be charged.
        if self.shared.verify && why != Failure::Connect {
            self.keep(job, sent, now, Verdict::Failed(why), None, &[]);
        }
        false
    }

    fn keep(
        &mut self,
        job: &Job,
        sent: u64,
        now: u64,
        verdict: Verdict,
        answer: Option<&Answer>,
        body: &[u8],
    ) {
        let outcome = match verdict {
            Verdict::Admitted => Outcome::Admitted,
            Verdict::Refused(_) => Outcome::Refused,
            Verdict::Rejected | Verdict::Failed(_) => Outcome::Unknown,
        };
        let exact = answer.is_none_or(|answer| answer.status != 429 || body_is_exact(answer, body));
        if !exact {
            self.tally.seen.wrong_bodies.push((now, job.key, String::from_utf8_lossy(body).into_owned()));
        }
        let answer = answer.cloned().unwrap_or_default();
        self.tally.keep(Sample {
            key: job.key as u32,
            rule: self.shared.rule_of(job).map(|(place, _)| place as u16),
            outcome,
            sent,
            answered: now,
            status: answer.status,
            limit: answer.limit,
            remaining: answer.remaining,
            reset: answer.reset,
            retry_after: answer.retry_after,
        });
    }

    /// Has the client do what it does after such an answer; true if it sends the request again.
    fn go_on(&mut self, job: &Job, answer: Option<&Answer>, now: u64) -> bool {
        let Some(group) = self.shared.clients.groups.get(job.group) else { return false };
        match group.population.behaviour.after(answer, job.attempt, now) {
            Next::GoOn => false,
            Next::HoldUntil(until) => {
                self.shared.clients.hold_until(job.key, until);
                false
            }
            Next::RetryAt(due) => {
                let again = Job { due, attempt: job.attempt + 1, ..*job };
                self.timers.push(Reverse((due, Timer::Send(again))));
                true
            }
            Next::GiveUp => {
                self.tally.gave_up += 1;
                false
            }
        }
    }
}

/// Only its worker writes a board, so nothing has to be locked.
fn increment(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
