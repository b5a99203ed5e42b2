//! A key's account: all limits of a request judged together, and charged all or none.
//!
//! The windows of a key are behind one lock, which a judgement holds; its burst bucket is the word that the
//! kernel charges too. Whatever the windows say is decided before the bucket is touched, the bucket's
//! compare-exchange is the one step that can fail, and the windows are charged last: a refusal leaves no trace.

use crate::flow::Credit;
use crate::limit::{Burst, Charge, Decision};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::window::Window;
use crate::word::Word;

/// What a key has used. It takes memory only for windows that have requests in them.
#[derive(Debug, Default)]
pub struct Account(Mutex<Windows>);

impl Account {
    /// The windows, for as long as nobody else may look at them.
    pub fn lock(&self) -> MutexGuard<'_, Windows> {
        // Windows are consistent between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit on a window, and what one request takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimit {
    /// Which window of the key it is.
    pub window: u32,
    /// The window's length.
    pub span_seconds: u32,
    /// Requests that the window admits, 1 or more.
    pub limit: u32,
    /// How many of them this request counts as, 1 or more; no more than all of them.
    pub cost: u32,
}

impl WindowLimit {
    /// A request that costs more than there is costs all: else it could never be admitted.
    fn cost(&self) -> u32 {
        self.cost.min(self.limit)
    }
}

/// A burst bucket, and what one request takes of it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// Its limit.
    pub burst: Burst,
    /// Its word, which others change at the same time.
    pub word: &'a Word,
    /// How many tokens the request takes, 1 or more; no more than all of them.
    pub cost: u32,
}

/// The limit that refuses: of several, the one with the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The bucket.
    Burst,
    /// The window limit with this index among those of the request.
    Window(usize),
}

/// Why a request is not within its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit.
    pub over: Over,
    /// Nanoseconds from now (1 or more) until all limits admit it, if nothing else comes.
    pub wait_ns: u64,
}

/// The windows of one key that have been used, in no order.
#[derive(Debug, Default)]
pub struct Windows(Vec<(u32, Window)>);

impl Windows {
    /// Judges a request at `now` by its window `limits` and its `bucket`, and charges all of them or none.
    /// `credit` is what the kernel left for it: that token goes back if the request is refused.
    pub fn judge(
        &mut self,
        limits: impl Iterator<Item = WindowLimit> + Clone,
        bucket: Option<Bucket<'_>>,
        credit: Option<Credit>,
        now: u64,
    ) -> Result<(), Refusal> {
        let refused = self.refusal(limits.clone(), now);
        let wait_ns = match &bucket {
            None => 0,
            Some(bucket) if refused.is_none() => bucket.charge(credit, now),
            Some(bucket) => {
                bucket.give_back(credit);
                bucket.wait(now)
            }
        };
        if let Some(refusal) = longer(refused, wait_ns) {
            return Err(refusal);
        }
        limits.for_each(|limit| self.add(&limit, now));
        Ok(())
    }

    /// What [`Self::judge`] would refuse the request with. Charges nothing.
    pub fn foresee(
        &mut self,
        limits: impl Iterator<Item = WindowLimit>,
        bucket: Option<&Bucket<'_>>,
        now: u64,
    ) -> Option<Refusal> {
        let refused = self.refusal(limits, now);
        longer(refused, bucket.map_or(0, |bucket| bucket.wait(now)))
    }

    /// Why the window `limits` refuse a request at `now`, if they do. Charges nothing.
    pub fn refusal(&mut self, limits: impl Iterator<Item = WindowLimit>, now: u64) -> Option<Refusal> {
        let mut longest: Option<Refusal> = None;
        for (index, limit) in limits.enumerate() {
            let wait_ns = self.wait(&limit, now);
            if wait_ns > longest.map_or(0, |longest| longest.wait_ns) {
                longest = Some(Refusal { over: Over::Window(index), wait_ns });
            }
        }
        longest
    }

    /// Charges one window by itself, if its `limit` admits the request at `now`; true if it does.
    pub fn charge(&mut self, limit: &WindowLimit, now: u64) -> bool {
        let is_within = self.wait(limit, now) == 0;
        if is_within {
            self.add(limit, now);
        }
        is_within
    }

    /// Nanoseconds from `now` until `limit` admits a request; 0 if it does already.
    pub fn wait(&mut self, limit: &WindowLimit, now: u64) -> u64 {
        self.used_window(limit).map_or(0, |window| window.wait(limit.limit, limit.cost(), now))
    }

    /// What is used of `limit` at `now`, and when the oldest of it leaves the window, if there is any.
    pub fn used(&mut self, limit: &WindowLimit, now: u64) -> (u32, Option<u64>) {
        let window = self.used_window(limit);
        window.map_or((0, None), |window| (window.used(now), window.oldest_leaves(now)))
    }

    /// Gives up the memory of windows that are empty at `now`.
    pub fn tidy(&mut self, now: u64) {
        self.0.retain_mut(|(_, window)| window.used(now) > 0);
        self.0.shrink_to_fit();
    }

    /// Whether no window is in use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the heap that the windows take.
    pub fn heap_bytes(&self) -> usize {
        let packed: usize = self.0.iter().map(|(_, window)| window.heap_bytes()).sum();
        self.0.capacity() * size_of::<(u32, Window)>() + packed
    }

    fn used_window(&mut self, limit: &WindowLimit) -> Option<&mut Window> {
        let (_, window) = self.0.iter_mut().find(|(window, _)| *window == limit.window)?;
        window.set_span(limit.span_seconds);
        Some(window)
    }

    /// Charges one window with a request at `now` that was admitted elsewhere.
    pub fn add(&mut self, limit: &WindowLimit, now: u64) {
        if let Some(window) = self.used_window(limit) {
            return window.charge(limit.cost(), now);
        }
        let mut window = Window::new(limit.span_seconds);
        window.charge(limit.cost(), now);
        self.0.reserve_exact(1);
        self.0.push((limit.window, window));
    }
}

/// The refusal by windows, or that by a bucket which admits after `wait_ns`: the one with the longer wait.
fn longer(windows: Option<Refusal>, wait_ns: u64) -> Option<Refusal> {
    match windows {
        Some(refusal) if refusal.wait_ns >= wait_ns => Some(refusal),
        _ if wait_ns > 0 => Some(Refusal { over: Over::Burst, wait_ns }),
        _ => None,
    }
}

impl Bucket<'_> {
    /// A request that costs more than a full bucket takes a full one: else it could never be admitted.
    fn tokens(&self) -> u64 {
        u64::from(self.cost).min(self.burst.capacity())
    }

    /// Takes the tokens that `credit` has not paid; returns 0, or the nanoseconds until there are enough.
    fn charge(&self, credit: Option<Credit>, now: u64) -> u64 {
        let wait = match credit {
            // The kernel has seen the bucket empty in this dry run; it may have a token again.
            Some(Credit::Observed) => return self.wait(now).max(1),
            Some(Credit::Paid) => self.take(self.tokens() - 1, now),
            None => self.take(self.tokens(), now),
        };
        if wait == 0 {
            return 0;
        }
        self.give_back(credit);
        // Somebody may have given tokens back meanwhile: refused all the same, for as short as can be.
        if credit.is_some() { self.wait(now).max(1) } else { wait }
    }

    /// Takes `tokens`; returns 0, or the nanoseconds until there are enough.
    fn take(&self, tokens: u64, now: u64) -> u64 {
        if tokens == 0 {
            return 0;
        }
        loop {
            match self.burst.charge_many(self.word, now, tokens) {
                Charge::Taken => return 0,
                Charge::Wait(wait) => return wait,
                // Each failed attempt is a charge of someone else: the bucket runs empty before this goes on
                // for long.
                Charge::Contended => {}
            }
        }
    }

    /// Gives the token back that `credit` stands for.
    fn give_back(&self, credit: Option<Credit>) {
        if credit == Some(Credit::Paid) {
            self.burst.refund(self.word);
        }
    }

    /// Nanoseconds until there are tokens enough; 0 if there are.
    pub fn wait(&self, now: u64) -> u64 {
        match self.burst.decide_many(self.word.load(), now, self.tokens()) {
            Decision::Wait(wait) => wait,
            Decision::Admit(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests;
