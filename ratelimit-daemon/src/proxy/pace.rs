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
    /// More of the client's request body, before the response begins.
    Body,
    /// The upstream: to take the request, or to send the head of its response.
    Upstream,
    /// The rest of the response: on either side something must move.
    Response,
    /// Anything, from either side of a connection that speaks another protocol.
    Tunnel,
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

/// Whom a request waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The client, for the rest of its body.
    Client,
    /// The upstream.
    Upstream,
}

/// A connection's present wait. Times are nanoseconds of [`crate::clock::now`].
#[derive(Debug)]
pub(super) struct Pace {
    phase: Cell<Phase>,
    /// End of the wait; `None` until the connection's task has set it.
    due: Cell<Option<u64>>,
    /// Whether bytes of a body came or went since the wait was last prolonged.
    moved: Cell<bool>,
    /// Who has taken too long, if a request waits to answer that.
    late: Cell<Option<Late>>,
    limits: [u64; 7],
}

impl Pace {
    /// The pace of a new connection.
    pub(super) fn new(proxy: &Proxy) -> Self {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let limits = [
            proxy.head_timeout,
            proxy.idle_timeout,
            proxy.body_timeout,
            proxy.response_timeout,
            proxy.idle_timeout,
            proxy.tunnel_timeout,
            CLOSING,
        ];
        Self::with(limits.map(nanoseconds))
    }

    /// Waits so long in each phase, in the order of [`Phase`].
    fn with(limits: [u64; 7]) -> Self {
        let (phase, due) = (Cell::new(Phase::Head), Cell::new(None));
        Self { phase, due, moved: Cell::new(false), late: Cell::new(None), limits }
    }

    /// From now on `phase` is waited for.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.due.set(None);
        self.moved.set(false);
        self.late.set(None);
    }

    /// The present wait begins anew.
    pub(super) fn renew(&self) {
        self.enter(self.phase.get());
    }

    /// A request on its way now waits for `phase`, if that is the client's body or the upstream. Once the response
    /// has begun it is the response that has to move.
    pub(super) fn turn(&self, phase: Phase) {
        let is_before_response = |phase| matches!(phase, Phase::Body | Phase::Upstream);
        if is_before_response(phase) && is_before_response(self.phase.get()) {
            self.enter(phase);
        }
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

    /// Who has taken too long for a request on its way.
    pub(super) fn late(&self) -> Option<Late> {
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
        if self.moved.get() && matches!(phase, Phase::Body | Phase::Response | Phase::Tunnel) {
            return Strike::Later(self.prolong(now));
        }
        self.late.set(match phase {
            Phase::Body => Some(Late::Client),
            Phase::Upstream => Some(Late::Upstream),
            _ => None,
        });
        self.due.set(Some(u64::MAX));
        Strike::Over(phase)
    }

    fn prolong(&self, now: u64) -> u64 {
        let [head, idle, body, upstream, response, tunnel, closing] = self.limits;
        let limit = match self.phase.get() {
            Phase::Head => head,
            Phase::Idle => idle,
            Phase::Body => body,
            Phase::Upstream => upstream,
            Phase::Response => response,
            Phase::Tunnel => tunnel,
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

    fn pace() -> Pace {
        Pace::with([10, 60, 20, 30, 60, 90, 2])
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
        let pace = Pace::with([u64::MAX; 7]);
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
        pace.turn(Phase::Body);
        assert_eq!(pace.due(|| 0), 20);
        pace.note_moved();
        assert_eq!(pace.strike(20), Strike::Later(40));
        assert_eq!(pace.strike(40), Strike::Over(Phase::Body));
        assert_eq!(pace.late(), Some(Late::Client));
        pace.enter(Phase::Response);
        assert_eq!(pace.late(), None);
        assert_eq!(pace.due(|| 60), 120);
        pace.note_moved();
        assert_eq!(pace.strike(120), Strike::Later(180));
        assert_eq!(pace.strike(180), Strike::Over(Phase::Response));
    }

    #[test]
    fn an_upstream_that_is_waited_for_gets_no_more_time_by_what_the_client_sends() {
        let pace = pace();
        pace.enter(Phase::Upstream);
        assert_eq!(pace.due(|| 0), 30);
        pace.note_moved();
        assert_eq!(pace.strike(30), Strike::Over(Phase::Upstream));
        assert_eq!(pace.late(), Some(Late::Upstream));
    }

    #[test]
    fn after_the_response_has_begun_the_body_is_not_waited_for() {
        let pace = pace();
        pace.enter(Phase::Response);
        pace.turn(Phase::Body);
        assert_eq!(pace.due(|| 0), 60);
    }
}
