//! How many records the body of a bulk request holds.
//!
//! The body is parsed as a whole, by a parser that builds nothing and goes as deep as the body does; nothing that
//! JSON leaves open decides about the number. What cannot be counted without doubt is refused.
#![forbid(unsafe_code)]

mod encoding;
mod json;

pub use encoding::Encoding;

use crate::rules::Bulk;

/// Why a bulk request is refused for what its body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The records cannot be counted, and why.
    Uncountable(&'static str),
    /// Decoded or not, the body has more bytes than are looked at.
    TooLarge,
    /// Its encoding is none of [`Encoding::SUPPORTED`].
    UnsupportedEncoding,
    /// There are more records than the rule allows.
    TooMany {
        /// How many there are.
        records: u64,
        /// How many are allowed.
        most: u32,
    },
}

/// Objects to a `body`, encoded so, that holds more records than `bulk` allows, or more than `most_bytes` when
/// decoded, or that cannot be counted.
pub fn check(body: &[u8], encoding: Encoding, most_bytes: usize, bulk: &Bulk) -> Result<(), Objection> {
    let decoded = encoding.decode(body, most_bytes)?;
    let text =
        str::from_utf8(&decoded).map_err(|_| Objection::Uncountable("The request body is not UTF-8."))?;
    let (records, most) = (json::count(text, bulk.records.as_deref())?, bulk.max_records);
    if records > u64::from(most) { Err(Objection::TooMany { records, most }) } else { Ok(()) }
}
