//! What a connection waits for, and for how long.
//!
//! A connection has one timer, however many requests it carries. Requests only note what is waited for; the
//! connection's task gives that wait its end, and sets the timer only if it would fire too late. A timer that
//! fires early looks at the wait of that moment and is set anew.

use crate::config::Proxy;
use std::cell::Cell;
use std::time::Duration;

/// How long a closing connection is read, so that the client gets the whole answer before it is told that
/// nobody listens.
const CLOSING: Duration = Duration::from_secs(2);

/// How long a head may take once the proxy stops. A client that has just connected has often sent its request
/// already.
const HURRY_NS: u64 = 500_000_000;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of a request's head, or the first request of the connection.
    Head,
    /// The next request.
    Idle,
    /// The head of the upstream's response, or the client's request body before it.
    Upstream,
    /// The rest of the response: on either side something must move.
    Response,
    /// The client's end of the connection, after ours is closed.
    Closing,
}

/// What comes of a timer that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// The wait goes on until this time.
    Later(u64),
    /// The wait for this is over.
    Over(Phase),
}

/// A connection's present wait. Times are nanoseconds of [`crate::clock::now`].
#[derive(Debug)]
pub(super) struct Pace {
    phase: Cell<Phase>,
    /// End of the wait; `None` until the connection's task has set it.
    due: Cell<Option<u64>>,
    /// Whether bytes of a body came or went since the wait was last prolonged.
    moved: Cell<bool>,
    /// Whether the upstream has taken too long.
    late: Cell<bool>,
    limits: [u64; 5],
}

impl Pace {
    /// The pace of a new connection.
    pub(super) fn new(proxy: &Proxy) -> Self {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let limits =
            [proxy.head_timeout, proxy.idle_timeout, proxy.response_timeout, proxy.idle_timeout, CLOSING];
        Self {
            phase: Cell::new(Phase::Head),
            due: Cell::new(None),
            moved: Cell::new(false),
            late: Cell::new(false),
            limits: limits.map(nanoseconds),
        }
    }

    /// From now on `phase` is waited for.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.due.set(None);
        self.moved.set(false);
        self.late.set(false);
    }

    /// The present wait begins anew.
    pub(super) fn renew(&self) {
        self.enter(self.phase.get());
    }

    /// The first or more bytes of a head came.
    pub(super) fn note_head(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Bytes of a body came or went.
    pub(super) fn note_moved(&self) {
        self.moved.set(true);
    }

    /// Whether no request has begun since the last was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// The proxy stops at `now`: whoever has begun a request, or just connected to send one, is to be quick.
    pub(super) fn hurry(&self, now: u64) {
        if self.phase.get() == Phase::Head {
            let due = self.due(|| now);
            self.due.set(Some(due.min(now.saturating_add(HURRY_NS))));
        }
    }

    /// Whether the upstream has taken too long for its response.
    pub(super) fn is_late(&self) -> bool {
        self.late.get()
    }

    /// The end of the present wait, which begins now if it has none yet.
    pub(super) fn due(&self, now: impl FnOnce() -> u64) -> u64 {
        self.due.get().unwrap_or_else(|| self.prolong(now()))
    }

    /// The timer has fired at `now`. A wait is over once: what it was for has to be seen to, or to be entered
    /// again.
    pub(super) fn strike(&self, now: u64) -> Strike {
        let due = self.due(|| now);
        let phase = self.phase.get();
        if now < due {
            return Strike::Later(due);
        }
        // A slow body is no stalled one. A head has to be complete, however it moves.
        if self.moved.get() && matches!(phase, Phase::Upstream | Phase::Response) {
            return Strike::Later(self.prolong(now));
        }
        self.late.set(phase == Phase::Upstream);
        self.due.set(Some(u64::MAX));
        Strike::Over(phase)
    }

    fn prolong(&self, now: u64) -> u64 {
        let [head, idle, upstream, response, closing] = self.limits;
        let limit = match self.phase.get() {
            Phase::Head => head,
            Phase::Idle => idle,
            Phase::Upstream => upstream,
            Phase::Response => response,
            Phase::Closing => closing,
        };
        let due = now.saturating_add(limit);
        self.due.set(Some(due));
        self.moved.set(false);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upstream;

    fn pace() -> Pace {
        let seconds = Duration::from_nanos;
        Pace::new(&Proxy {
            listen: Vec::new(),
            upstream: Upstream { host: "localhost".to_owned(), port: 1 },
            workers: 1,
            max_connections: 1,
            head_timeout: seconds(10),
            idle_timeout: seconds(60),
            connect_timeout: seconds(2),
            response_timeout: seconds(30),
            drain_timeout: seconds(1),
        })
    }

    #[test]
    fn a_wait_begins_when_it_is_first_asked_for_and_ends_on_time() {
        let pace = pace();
        assert_eq!(pace.due(|| 100), 110);
        assert_eq!(pace.due(|| 105), 110);
        assert_eq!(pace.strike(109), Strike::Later(110));
        assert_eq!(pace.strike(110), Strike::Over(Phase::Head));
    }

    #[test]
    fn a_dripping_head_gets_no_more_time() {
        let pace = pace();
        pace.enter(Phase::Idle);
        pace.note_head();
        assert_eq!(pace.due(|| 0), 10);
        pace.note_head();
        assert_eq!(pace.strike(10), Strike::Over(Phase::Head));
    }

    #[test]
    fn a_stop_hurries_a_head_and_nothing_else() {
        let pace = pace();
        pace.hurry(0);
        assert_eq!(pace.due(|| 0), 10, "sooner already");
        let pace = Pace { limits: [u64::MAX; 5], ..self::pace() };
        pace.hurry(7);
        assert_eq!(pace.due(|| 0), 7 + HURRY_NS);
        pace.enter(Phase::Upstream);
        pace.hurry(7);
        assert_eq!(pace.due(|| 0), u64::MAX);
    }

    #[test]
    fn a_moving_body_gets_more_time_and_a_stalled_one_does_not() {
        let pace = pace();
        pace.enter(Phase::Upstream);
        assert_eq!(pace.due(|| 0), 30);
        pace.note_moved();
        assert_eq!(pace.strike(30), Strike::Later(60));
        assert_eq!(pace.strike(60), Strike::Over(Phase::Upstream));
        assert!(pace.is_late());
        pace.enter(Phase::Response);
        assert!(!pace.is_late());
        assert_eq!(pace.due(|| 60), 120);
        pace.note_moved();
        assert_eq!(pace.strike(120), Strike::Later(180));
        assert_eq!(pace.strike(180), Strike::Over(Phase::Response));
    }
}
