//! SipHash-1-3 over 64-bit words, for the kernel program and the daemon alike.
//!
//! The algorithm is Aumasson and Bernstein's "SipHash: a fast short-input PRF" (2012) with one compression
//! and three finalisation rounds. It is keyed by a secret, so nobody outside can choose keys or addresses
//! that fall together. It is written here because the kernel hashes while it reads, eight bytes at a time.

/// The secret under which keys and connections are hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Secret {
    /// Bytes 0 to 7, little-endian.
    pub k0: u64,
    /// Bytes 8 to 15, little-endian.
    pub k1: u64,
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A hash under way.
#[derive(Clone, Copy)]
pub struct Hasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Hasher {
    /// Starts a hash under `secret`.
    #[inline(always)]
    pub const fn new(secret: Secret) -> Self {
        Self {
            v0: secret.k0 ^ 0x736f_6d65_7073_6575,
            v1: secret.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: secret.k0 ^ 0x6c79_6765_6e65_7261,
            v3: secret.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Takes the next eight bytes, little-endian.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Takes the last 0 to 7 bytes (the low ones of `tail`, the rest zero) of `len` bytes in all, and ends.
    #[inline(always)]
    pub fn finish(mut self, tail: u64, len: usize) -> u64 {
        self.word(tail | (len as u64) << 56);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// The hash of a whole byte string.
pub fn hash_bytes(secret: Secret, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(secret);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hasher.word(u64::from_le_bytes(*word));
    }
    let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
    hasher.finish(tail, bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher as _;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_siphash_1_3(k0: u64, k1: u64, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut reference = siphasher::sip::SipHasher13::new_with_keys(k0, k1);
            reference.write(&bytes);
            prop_assert_eq!(hash_bytes(Secret { k0, k1 }, &bytes), reference.finish());
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret { k0: 1, k1: 2 }), "Secret(..)");
    }
}
