//! The 64-bit word that the kernel program and the daemon change at once, in memory that both have mapped.

use crate::sync::AtomicU64;

/// A shared word. Every change is one atomic instruction on either side.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// A word outside shared memory, as tests use it.
    #[cfg(not(shuttle))]
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// A word that the model checker watches.
    #[cfg(shuttle)]
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
}

#[cfg(not(target_arch = "bpf"))]
mod user {
    use super::Word;
    use core::sync::atomic::Ordering;

    impl Word {
        /// The value now.
        pub fn load(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }

        /// Replaces the value.
        pub fn store(&self, value: u64) {
            self.0.store(value, Ordering::Release);
        }

        /// Stores `new` if the value is still `current`; true when it was.
        pub fn replace(&self, current: u64, new: u64) -> bool {
            self.0.compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        }

        /// Adds `amount`, wrapping.
        pub fn add(&self, amount: u64) {
            self.fetch_add(amount);
        }

        /// Adds `amount`, wrapping; returns the value before.
        pub fn fetch_add(&self, amount: u64) -> u64 {
            self.0.fetch_add(amount, Ordering::AcqRel)
        }

        /// Takes `amount` off, but not below zero.
        pub fn subtract(&self, amount: u64) {
            // Never fails: the closure always has an answer.
            let less = |word: u64| Some(word.saturating_sub(amount));
            let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
        }
    }
}

// `core` has no 64-bit compare-exchange for this target and LLVM cannot lower its relaxed loads, so these are
// BPF's own instructions (RFC 9669, section 5.3).
#[cfg(target_arch = "bpf")]
mod kernel {
    use super::Word;
    use core::arch::asm;

    impl Word {
        /// The value now.
        #[inline(always)]
        pub fn load(&self) -> u64 {
            // SAFETY: `self` is a live, aligned word; a 64-bit load is one instruction on this target.
            unsafe { self.0.as_ptr().read_volatile() }
        }

        /// Replaces the value.
        #[inline(always)]
        pub fn store(&self, value: u64) {
            // SAFETY: `self` is a live, aligned word; a 64-bit store is one instruction on this target.
            unsafe { self.0.as_ptr().write_volatile(value) }
        }

        /// Stores `new` if the value is still `current`; true when it was.
        #[inline(always)]
        pub fn replace(&self, current: u64, new: u64) -> bool {
            let seen: u64;
            // SAFETY: the instruction reads and writes the live, aligned word behind `self` and register r0.
            unsafe {
                asm!("r0 = cmpxchg_64({word} + 0, r0, {new})",
                    word = in(reg) self.0.as_ptr(), new = in(reg) new, inout("r0") current => seen);
            }
            seen == current
        }

        /// Adds `amount`, wrapping.
        #[inline(always)]
        pub fn add(&self, amount: u64) {
            // SAFETY: the instruction reads and writes the live, aligned word behind `self`.
            unsafe {
                asm!("lock *(u64 *)({word} + 0) += {amount}",
                    word = in(reg) self.0.as_ptr(), amount = in(reg) amount);
            }
        }

        /// Adds `amount`, wrapping; returns the value before.
        #[inline(always)]
        pub fn fetch_add(&self, amount: u64) -> u64 {
            let before: u64;
            // SAFETY: the instruction reads and writes the live, aligned word behind `self`.
            unsafe {
                asm!("{amount} = atomic_fetch_add((u64 *)({word} + 0), {amount})",
                    word = in(reg) self.0.as_ptr(), amount = inout(reg) amount => before);
            }
            before
        }

        /// Takes `amount` off. The kernel only takes back what it has just added, so it cannot pass zero.
        #[inline(always)]
        pub fn subtract(&self, amount: u64) {
            self.add(amount.wrapping_neg());
        }
    }
}
