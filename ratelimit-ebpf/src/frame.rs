//! The packet as a source of bytes: every read is checked against the packet's end, as the verifier demands.

use core::arch::asm;
use ratelimit_common::packet::Source;

/// A packet, or the rest of one.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The bytes from `start` to `end`, both as the kernel has them in the program's context.
    #[inline(always)]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Where `T` lies at `offset`, if all of it is inside the packet.
    #[inline(always)]
    pub(crate) fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let place = self.start + offset;
        if place + size_of::<T>() > self.end { None } else { Some(place as *mut T) }
    }

    /// Writes `value` at `offset`, if it fits.
    #[inline(always)]
    pub(crate) fn write<T>(&self, offset: usize, value: T) -> Option<()> {
        let place = self.place::<T>(offset)?;
        // SAFETY: inside the packet, which this program alone has.
        unsafe { place.write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: inside the packet, which lives as long as the program runs. Callers ask for integers only,
        // which are valid with any bits.
        Some(unsafe { place.read_unaligned() })
    }
}

impl Source for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        let mut len = self.end;
        // SAFETY: a subtraction. Written as an instruction because the compiler would else narrow it to 32
        // bits, which the verifier does not allow on pointers.
        unsafe { asm!("{0} -= {1}", inout(reg) len, in(reg) self.start, options(pure, nomem, nostack)) };
        len
    }

    #[inline(always)]
    fn u8(&self, offset: usize) -> Option<u8> {
        self.read(offset)
    }

    #[inline(always)]
    fn u16(&self, offset: usize) -> Option<u16> {
        self.read(offset)
    }

    #[inline(always)]
    fn u32(&self, offset: usize) -> Option<u32> {
        self.read(offset)
    }

    #[inline(always)]
    fn u64(&self, offset: usize) -> Option<u64> {
        self.read(offset)
    }

    #[inline(always)]
    fn block(&self, offset: usize) -> Option<[u64; 4]> {
        self.read(offset)
    }

    #[inline(always)]
    fn after(&self, offset: usize) -> Self {
        let mut start = self.start;
        // SAFETY: an addition. Written as an instruction because the compiler would else compute the sum once
        // for the check against the end and again for the access, which the verifier takes for two places.
        unsafe { asm!("{0} += {1}", inout(reg) start, in(reg) offset, options(pure, nomem, nostack)) };
        Self { start, end: self.end }
    }

    #[inline(always)]
    fn settle(offset: usize) -> usize {
        let mut spilled = 0_u64;
        let settled: u64;
        // SAFETY: writes and reads two of the eight live bytes behind the pointer. The verifier follows a value
        // through the stack only where it lies on an eight-byte boundary, so this one it forgets.
        unsafe {
            asm!("*(u16 *)({place} + 2) = {value}", "{settled} = *(u16 *)({place} + 2)",
                place = in(reg) &raw mut spilled, value = in(reg) offset, settled = out(reg) settled);
        }
        settled as usize & 0xfff
    }

    #[inline(always)]
    fn zero(&self) -> u64 {
        let Some(place) = self.place::<u16>(0) else { return 0 };
        // SAFETY: inside the packet. Read twice, as the verifier takes what memory holds for unknown each time.
        let first = unsafe { place.read_volatile() };
        // SAFETY: as above.
        let second = unsafe { place.read_volatile() };
        u64::from(first ^ second)
    }
}
