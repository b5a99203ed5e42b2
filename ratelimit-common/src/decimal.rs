//! Decimal digits without a loop or a table, for a program that the kernel's verifier follows down every branch.

/// Most digits that [`Digits`] holds: enough for a `u32`, and for Unix time until the year 2286.
pub const MAX_DIGITS: usize = 10;

const ASCII: u64 = 0x3030_3030_3030_3030;
const HUNDRED_MILLION: u64 = 100_000_000;

/// A number in decimal, without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits {
    /// The first eight characters, the first one lowest.
    pub head: u64,
    /// The ninth and the tenth, if there are so many.
    pub tail: u16,
    /// How many there are, 1 to [`MAX_DIGITS`].
    pub len: usize,
}

impl Digits {
    /// The digits of `number`; of 9,999,999,999 if it is larger.
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        let number = if number > 9_999_999_999 { 9_999_999_999 } else { number };
        if number < HUNDRED_MILLION {
            let digits = eight(number);
            // The lowest byte that is not zero is the first digit; the number 0 has its last.
            let zeros = leading_zeros(digits | 1 << 56);
            return Self { head: (digits | ASCII) >> (zeros * 8), tail: 0, len: 8 - zeros };
        }
        let high = number / HUNDRED_MILLION;
        let low = eight(number % HUNDRED_MILLION) | ASCII;
        if high < 10 {
            return Self { head: low << 8 | 0x30 | high, tail: (low >> 56) as u16, len: 9 };
        }
        let two = (0x30 + high / 10) | (0x30 + high % 10) << 8;
        Self { head: low << 16 | two, tail: (low >> 48) as u16, len: 10 }
    }
}

/// The eight digits of a number below 100,000,000, a byte each, the first one lowest.
///
/// The halves are split at once inside one word, then the quarters, then the digits (Paul Khuong, "How to print
/// integers really fast", 2017).
#[inline(always)]
const fn eight(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let quarters = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = quarters | ((halves - quarters * 100) << 16);
    let digits = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    digits | ((quarters - digits * 10) << 8)
}

/// Zero bytes below the lowest that is not.
#[inline(always)]
const fn leading_zeros(digits: u64) -> usize {
    // Each digit has its highest bit clear, so adding 0x7f sets it where the digit is not zero.
    let flags = (digits + 0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080;
    let lowest = (flags & flags.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(number: u64) -> String {
        let digits = Digits::new(number);
        let bytes = [&digits.head.to_le_bytes()[..], &digits.tail.to_le_bytes()].concat();
        String::from_utf8(bytes[..digits.len].to_vec()).expect("ASCII")
    }

    #[test]
    fn each_number_of_digits_at_its_ends() {
        for power in 0..10 {
            let first = 10_u64.pow(power);
            for number in [first - 1, first, first + 1, first * 9] {
                assert_eq!(text(number), number.to_string());
            }
        }
        assert_eq!(text(u64::MAX), "9999999999");
    }

    proptest! {
        #[test]
        fn they_are_the_number_s(number in prop_oneof![0..100_000_u64, 0..10_000_000_000_u64]) {
            prop_assert_eq!(text(number), number.to_string());
        }
    }
}
