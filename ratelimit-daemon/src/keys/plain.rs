//! A key in the clear: made or handed over once, hashed, and forgotten.

use anyhow::{Context, Result};
use ratelimit_common::hash::{Secret, hash_bytes};
use ratelimit_common::http::MAX_KEY;
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::RangeInclusive;

const PREFIX: &str = "rl_";
const DRAWN: usize = 28;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Bytes below this map to the alphabet evenly: four to each character.
const EVEN: u8 = 248;
/// What an imported key may measure, in bytes. The kernel reads no longer ones.
const LENGTH: RangeInclusive<usize> = 8..=MAX_KEY;

/// A whole API key. It is shown by [`PlainKey::reveal`] alone.
pub struct PlainKey(String);

impl PlainKey {
    /// Draws a new key: `rl_` and 28 letters and digits, 166 bits.
    pub fn generate() -> Result<Self> {
        let mut key = String::with_capacity(PREFIX.len() + DRAWN);
        key.push_str(PREFIX);
        while key.len() < PREFIX.len() + DRAWN {
            let mut bytes = [0; DRAWN];
            getrandom::fill(&mut bytes).context("cannot draw a key: the system has no random numbers")?;
            let missing = PREFIX.len() + DRAWN - key.len();
            key.extend(bytes.into_iter().filter_map(character).take(missing));
        }
        Ok(Self(key))
    }

    /// Takes a key that exists already; else says why it cannot be one.
    pub fn import(text: &str) -> Result<Self, String> {
        if LENGTH.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        let (least, most) = (LENGTH.start(), LENGTH.end());
        Err(format!("not a key; allowed: {least} to {most} visible ASCII characters, no spaces"))
    }

    /// The key itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the proxy looks it up by.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// What the kernel looks it up by.
    pub fn siphash(&self, secret: Secret) -> u64 {
        hash_bytes(secret, self.0.as_bytes())
    }
}

/// The character that a random byte stands for; `None` for the few bytes that would favour some characters.
fn character(byte: u8) -> Option<char> {
    if byte >= EVEN {
        return None;
    }
    ALPHABET.get(usize::from(byte) % ALPHABET.len()).map(|byte| char::from(*byte))
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_stands_for_as_many_bytes() {
        let mut counts = std::collections::BTreeMap::new();
        for character in (0..=u8::MAX).filter_map(character) {
            *counts.entry(character).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    }

    #[test]
    fn a_drawn_key_has_the_told_form_and_is_drawn_once() {
        let (first, second) = (PlainKey::generate().unwrap(), PlainKey::generate().unwrap());
        for key in [&first, &second] {
            let drawn = key.reveal().strip_prefix("rl_").unwrap();
            assert_eq!(drawn.len(), 28);
            assert!(drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{drawn}");
        }
        assert_ne!(first.reveal(), second.reveal());
        assert!(PlainKey::import(first.reveal()).is_ok());
    }

    #[test]
    fn an_imported_key_is_checked_and_not_repeated_in_the_refusal() {
        let long = "k".repeat(65);
        for wrong in
            ["", "1234567", &long, "with a space", "tab\tinside", "umläute-in-key", "del\u{7f}del-del"]
        {
            let refusal = PlainKey::import(wrong).unwrap_err();
            assert!(refusal.contains("allowed: 8 to 64"), "{refusal}");
            assert!(wrong.is_empty() || !refusal.contains(wrong), "{refusal}");
        }
        for right in ["12345678", &"k".repeat(64), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
            assert_eq!(PlainKey::import(right).unwrap().reveal(), right);
        }
    }

    #[test]
    fn a_key_is_not_printed_by_accident() {
        assert_eq!(format!("{:?}", PlainKey::import("my-secret-key").unwrap()), "PlainKey(..)");
    }
}
