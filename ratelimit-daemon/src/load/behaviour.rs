//! What a client does about an answer: the difference between a good client and a bad one.

use super::response::Answer;
use crate::clock;

const SECOND_NS: u64 = 1_000_000_000;

/// Attempts of a request, as in the guide's retry loop.
const MAX_ATTEMPTS: u32 = 3;

/// How the clients of a population behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Goes on, whatever it is told.
    Hammer,
    /// Sends nothing with a refused key until Retry-After is over.
    Polite,
    /// Repeats a refused request after Retry-After, or after 1 s, 2 s, 4 s without one; gives it up after the third attempt.
    Backoff,
    /// Spreads what remains of the hour over the time until it resets.
    Paced,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// What it would have done anyway.
    GoOn,
    /// Nothing with this key before this instant.
    HoldUntil(u64),
    /// The same request again at this instant.
    RetryAt(u64),
    /// It has tried often enough.
    GiveUp,
}

impl Behaviour {
    /// By the names that scenario files use.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("hammer", Self::Hammer),
        ("polite", Self::Polite),
        ("backoff", Self::Backoff),
        ("paced", Self::Paced),
    ];

    /// What follows an answer at `now` to the attempt number `attempt` (from 0). `None`: the connection was reset, which tells
    /// a client nothing about the time to wait.
    pub(crate) fn after(self, answer: Option<&Answer>, attempt: u32, now: u64) -> Next {
        let is_refused = answer.is_none_or(|answer| answer.status == 429);
        let told = answer.and_then(|answer| answer.retry_after).map(|seconds| u64::from(seconds) * SECOND_NS);
        match self {
            Self::Hammer => Next::GoOn,
            Self::Polite | Self::Paced if is_refused => Next::HoldUntil(now + told.unwrap_or(SECOND_NS)),
            Self::Backoff if is_refused && attempt + 1 < MAX_ATTEMPTS => {
                Next::RetryAt(now + told.unwrap_or(SECOND_NS << attempt))
            }
            Self::Backoff if is_refused => Next::GiveUp,
            Self::Paced => answer.and_then(pause).map_or(Next::GoOn, |pause| Next::HoldUntil(now + pause)),
            Self::Polite | Self::Backoff => Next::GoOn,
        }
    }
}

/// The time until the reset, shared out among the requests that remain.
fn pause(answer: &Answer) -> Option<u64> {
    let left_ns = (answer.reset? * SECOND_NS).saturating_sub(clock::unix());
    Some(left_ns / u64::from(answer.remaining?.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(retry_after: Option<u32>) -> Answer {
        Answer { status: 429, retry_after, ..Answer::default() }
    }

    #[test]
    fn a_polite_client_waits_as_told() {
        let ok = Answer { status: 200, ..Answer::default() };
        assert_eq!(Behaviour::Polite.after(Some(&ok), 0, 5), Next::GoOn);
        assert_eq!(
            Behaviour::Polite.after(Some(&refused(Some(7))), 0, 5),
            Next::HoldUntil(7 * SECOND_NS + 5)
        );
        assert_eq!(Behaviour::Polite.after(None, 0, 5), Next::HoldUntil(SECOND_NS + 5));
        assert_eq!(Behaviour::Hammer.after(Some(&refused(Some(7))), 0, 5), Next::GoOn);
    }

    #[test]
    fn the_guides_loop_waits_twice_as_long_each_time_and_ends() {
        let after = |attempt| Behaviour::Backoff.after(Some(&refused(None)), attempt, 0);
        assert_eq!([after(0), after(1)], [Next::RetryAt(SECOND_NS), Next::RetryAt(2 * SECOND_NS)]);
        assert_eq!(after(2), Next::GiveUp);
        let told = Behaviour::Backoff.after(Some(&refused(Some(9))), 1, 0);
        assert_eq!(told, Next::RetryAt(9 * SECOND_NS));
    }

    #[test]
    fn a_paced_client_makes_the_rest_last() {
        let reset = clock::unix() / SECOND_NS + 100;
        let answer = Answer { status: 200, remaining: Some(10), reset: Some(reset), ..Answer::default() };
        let Next::HoldUntil(pause) = Behaviour::Paced.after(Some(&answer), 0, 0) else {
            panic!("it goes on at once");
        };
        assert!((9 * SECOND_NS..=10 * SECOND_NS).contains(&pause), "{pause}");
    }
}
