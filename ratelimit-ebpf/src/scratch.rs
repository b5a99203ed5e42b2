//! Where an answer is written before it goes into a packet: a packet has no room yet, the stack never has.

use crate::maps::SCRATCH;
use ratelimit_common::answer::Sink;
use ratelimit_common::decimal::Digits;

/// Bytes of scratch space for each processor.
pub(crate) const SIZE: usize = 2048;

/// Offsets stay below this, which the verifier sees from the bits. The longest piece of text fits behind it.
const MASK: usize = SIZE / 2 - 1;

/// The scratch space of this processor, with what was written so far.
pub(crate) struct Scratch {
    base: *mut u8,
    len: usize,
}

impl Scratch {
    /// Empty scratch space. `None` never happens, but the verifier does not know.
    #[inline(always)]
    pub(crate) fn take() -> Option<Self> {
        let base = SCRATCH.get_ptr_mut(0)?.cast::<u8>();
        Some(Self { base, len: 0 })
    }

    /// What was written.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> (*const u8, usize) {
        (self.base, self.len & MASK)
    }

    #[inline(always)]
    fn end(&self) -> *mut u8 {
        self.base.wrapping_add(self.len & MASK)
    }

    /// The same number, of which the verifier forgets what it has found out: else it follows each way through the
    /// digits of one number again for each way through those before it.
    #[inline(always)]
    pub(crate) fn forget(&self, number: u64) -> u64 {
        let place = self.base.wrapping_add(SIZE - size_of::<u64>()).cast::<u64>();
        // SAFETY: inside the scratch space, behind everything else that is written.
        unsafe { place.write_volatile(number) };
        // SAFETY: as above. What comes from memory has no history.
        unsafe { place.read_volatile() }
    }

    /// Writes zeros behind the end, so that the last word is whole.
    #[inline(always)]
    pub(crate) fn pad(&mut self) {
        self.put(0, 0_u32);
    }

    /// Writes `value` at `offset` behind the end.
    #[inline(always)]
    fn put<T>(&mut self, offset: usize, value: T) {
        let place = self.end().wrapping_byte_add(offset).cast::<T>();
        // SAFETY: the end is below `MASK`, with as many bytes behind it; no value is so far behind or so long.
        unsafe { place.write_unaligned(value) };
    }
}

impl Sink for Scratch {
    #[inline(always)]
    fn text(&mut self, text: &str) {
        // SAFETY: below `MASK`, with as many bytes behind it; no text is so long.
        unsafe { self.end().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        self.len += text.len();
    }

    #[inline(always)]
    fn number(&mut self, number: u64) {
        let digits = Digits::new(self.forget(number));
        self.put(0, digits.head);
        self.put(size_of_val(&digits.head), digits.tail);
        self.len = self.forget((self.len + digits.len) as u64) as usize;
    }
}
