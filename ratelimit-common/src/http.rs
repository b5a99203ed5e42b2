//! Finds the API key in the first segment of a request and hashes it, as far as the kernel judges it.
//!
//! The head is read at a fixed stride of 32 bytes (the next address never depends on what was loaded, so the
//! loads overlap), and each word is tested for a line feed at once. Only at the start of a line is a name
//! compared. Words are little-endian, as BPF on x86 and arm64 and both hosts are.
//!
//! The answer is either the hash of exactly the bytes that the proxy would take for the key, or the reason
//! why that was not certain.

use crate::hash::{Hasher, Secret};
use crate::outcome::Outcome;
use crate::packet::{Segment, Source};

/// Longest head that the kernel reads in search of a key, in bytes.
pub const MAX_SCAN: usize = 2048;
/// Longest key that the kernel reads, in bytes.
pub const MAX_KEY: usize = 64;
/// Longest name of a key field, in bytes; the shortest is [`MIN_NAME`].
pub const MAX_NAME: usize = 24;
/// Shortest name of a key field, in bytes.
pub const MIN_NAME: usize = 3;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES * 0x80;
const LOWER: u64 = ONES * 0x20;
const LF: u64 = ONES * b'\n' as u64;

/// The name of the field that carries the key, lower-cased with bit 5 set, in words with their masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FieldName {
    /// Eight bytes of the name each, unused ones zero.
    pub words: [u64; 3],
    /// All ones over each byte that is used.
    pub masks: [u64; 3],
    /// Length of the name in bytes.
    pub len: u64,
}

impl FieldName {
    /// The field called `name`, of [`MIN_NAME`] to [`MAX_NAME`] bytes; `None` for any other length.
    pub fn new(name: &str) -> Option<Self> {
        if !(MIN_NAME..=MAX_NAME).contains(&name.len()) {
            return None;
        }
        let (mut words, mut masks) = ([0; 3], [0; 3]);
        for (index, chunk) in name.as_bytes().chunks(8).enumerate() {
            let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte | 0x20));
            *words.get_mut(index)? = word;
            *masks.get_mut(index)? = low_bytes(chunk.len());
        }
        Some(Self { words, masks, len: name.len() as u64 })
    }
}

/// Which fields carry a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct KeyFields {
    /// The field whose whole value is the key.
    pub name: FieldName,
    /// 1 if `Authorization: Bearer KEY` carries a key too, else 0.
    pub bearer: u64,
}

const AUTHORIZATION: u64 = u64::from_le_bytes(*b"authoriz");
const ATION: u64 = u64::from_le_bytes(*b"ation:\0\0");
const BEARER: u64 = u64::from_le_bytes(*b"bearer \0");

/// A mask of the `count` (0 to 8) low bytes of a word.
#[inline(always)]
const fn low_bytes(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { (1 << (count * 8)) - 1 }
}

/// The hash of the key of the request that `segment` starts, or why there is none to judge.
#[inline(always)]
pub fn request_key<S: Source>(
    segment: &Segment<S>,
    fields: &KeyFields,
    secret: Secret,
) -> Result<u64, Outcome> {
    if !segment.is_plain() {
        return Err(Outcome::Control);
    }
    if segment.len == 0 {
        return Err(Outcome::NoPayload);
    }
    if !is_request(segment.payload) {
        return Err(Outcome::NotRequest);
    }
    key_hash(segment.payload, fields, secret)
}

/// True if the payload starts like an HTTP/1 request.
#[inline(always)]
pub fn is_request<S: Source>(payload: S) -> bool {
    const fn start(method: &[u8; 4]) -> u32 {
        u32::from_le_bytes(*method)
    }
    const GET: u32 = start(b"GET ");
    const POST: u32 = start(b"POST");
    const PUT: u32 = start(b"PUT ");
    const PATCH: u32 = start(b"PATC");
    const DELETE: u32 = start(b"DELE");
    const HEAD: u32 = start(b"HEAD");
    const OPTIONS: u32 = start(b"OPTI");
    matches!(payload.u32(0), Some(GET | POST | PUT | PATCH | DELETE | HEAD | OPTIONS))
}

/// The hash of the first key in the head that `payload` starts with.
#[inline(always)]
pub fn key_hash<S: Source>(payload: S, fields: &KeyFields, secret: Secret) -> Result<u64, Outcome> {
    let line = payload.after(S::settle(find_line(payload, fields)?));
    let value = line.after(S::settle(value_offset(line, fields)?));
    hash_value(value, secret)
}

/// The offset of the first line that starts like a field with a key.
#[inline(always)]
fn find_line<S: Source>(payload: S, fields: &KeyFields) -> Result<usize, Outcome> {
    for step in 0..MAX_SCAN / 32 {
        let base = step * 32;
        let Some(block) = payload.block(base) else {
            return find_in_tail(payload, fields, base);
        };
        let [first, second, third, fourth] = block.map(feeds);
        if first | second | third | fourth == 0 {
            continue;
        }
        for (index, feeds) in [first, second, third, fourth].into_iter().enumerate() {
            if let Some(line) = line_after(payload, fields, base + index * 8, feeds)? {
                return Ok(line);
            }
        }
    }
    Err(Outcome::KeyCut)
}

/// The same in the last 0 to 31 bytes, from `base` on.
#[inline(always)]
fn find_in_tail<S: Source>(payload: S, fields: &KeyFields, base: usize) -> Result<usize, Outcome> {
    for index in 0..3 {
        let Some(word) = payload.u64(base + index * 8) else { break };
        if let Some(line) = line_after(payload, fields, base + index * 8, feeds(word))? {
            return Ok(line);
        }
    }
    // In what is left, at most 7 bytes, no line with a key can start and end.
    Err(Outcome::NoKey)
}

/// Flags each line feed in a word in its highest bit. Exact up to the lowest.
#[inline(always)]
const fn feeds(word: u64) -> u64 {
    (word ^ LF).wrapping_sub(ONES) & !word & HIGHS
}

/// Looks at the line that starts behind the lowest of `feeds`, which are those of the word at `offset`.
#[inline(always)]
fn line_after<S: Source>(
    payload: S,
    fields: &KeyFields,
    offset: usize,
    feeds: u64,
) -> Result<Option<usize>, Outcome> {
    if feeds == 0 {
        return Ok(None);
    }
    let line = offset + lowest(feeds) + 1;
    let Some(start) = payload.after(line).u64(0) else { return Err(Outcome::NoKey) };
    // An empty line ends the head; what follows is a body and holds no key.
    let first = start as u8;
    if first == b'\r' || first == b'\n' {
        return Err(Outcome::NoKey);
    }
    if feeds & (feeds - 1) != 0 {
        return Err(Outcome::Unusual);
    }
    let folded = start | LOWER;
    let is_key = folded & fields.name.masks[0] == fields.name.words[0];
    let is_bearer = folded == AUTHORIZATION && fields.bearer != 0;
    Ok((is_key || is_bearer).then_some(line))
}

/// Index of the lowest byte that is flagged in its highest bit.
#[inline(always)]
fn lowest(flags: u64) -> usize {
    // BPF counts no trailing zeros: the lowest flag becomes a power of 256, which the multiplication looks up.
    let lowest = (flags & flags.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize
}

/// From the start of a line to the first byte of the key in it.
#[inline(always)]
fn value_offset<S: Source>(line: S, fields: &KeyFields) -> Result<usize, Outcome> {
    let name = &fields.name;
    let first = line.u64(0).ok_or(Outcome::KeyCut)? | LOWER;
    if first & name.masks[0] == name.words[0] {
        let [_, second, third] = name.words;
        let [_, second_mask, third_mask] = name.masks;
        if !continues(line, 8, second, second_mask)? || !continues(line, 16, third, third_mask)? {
            return Err(Outcome::Unusual);
        }
        let colon = name.len as usize;
        if line.after(colon).u8(0).ok_or(Outcome::KeyCut)? != b':' {
            return Err(Outcome::Unusual);
        }
        return Ok(colon + 1 + blank(line, colon + 1)?);
    }
    let rest = line.u64(8).ok_or(Outcome::KeyCut)? & low_bytes(6);
    if (rest | LOWER & low_bytes(5)) != ATION {
        return Err(Outcome::Unusual);
    }
    let scheme = 14 + blank(line, 14)?;
    let word = line.after(scheme).u64(0).ok_or(Outcome::KeyCut)? & low_bytes(7);
    if (word | LOWER & low_bytes(6)) != BEARER {
        return Err(Outcome::Unusual);
    }
    Ok(scheme + 7)
}

/// True if the name goes on like `word` at `offset`, or has ended before.
#[inline(always)]
fn continues<S: Source>(line: S, offset: usize, word: u64, mask: u64) -> Result<bool, Outcome> {
    if mask == 0 {
        return Ok(true);
    }
    let read = line.u64(offset).ok_or(Outcome::KeyCut)? | LOWER;
    Ok(read & mask == word)
}

/// 1 if there is a blank at `offset`, else 0.
#[inline(always)]
fn blank<S: Source>(line: S, offset: usize) -> Result<usize, Outcome> {
    let byte = line.after(offset).u8(0).ok_or(Outcome::KeyCut)?;
    Ok(usize::from(byte == b' ' || byte == b'\t'))
}

/// Hashes the value up to the end of its line.
#[inline(always)]
fn hash_value<S: Source>(value: S, secret: Secret) -> Result<u64, Outcome> {
    let mut hasher = Hasher::new(secret);
    let mut offset = 0;
    let last = loop {
        let Some(word) = value.u64(offset) else { break rest(value, offset)? };
        if blanks(word) != 0 {
            break word;
        }
        if offset == MAX_KEY {
            return Err(Outcome::KeyCut);
        }
        hasher.word(word);
        offset += 8;
    };
    let blanks = blanks(last);
    if blanks == 0 {
        return Err(Outcome::KeyCut);
    }
    let count = lowest(blanks);
    let len = S::settle(offset + count);
    if len == 0 {
        return Err(Outcome::Unusual);
    }
    if len > MAX_KEY {
        return Err(Outcome::KeyCut);
    }
    end_of_line(value, len)?;
    Ok(hasher.finish(last & low_bytes(count), len))
}

/// Flags each byte of a word that cannot be in a key: blanks and controls. Exact up to the lowest.
#[inline(always)]
const fn blanks(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x21) & !word & HIGHS
}

/// The 1 to 7 bytes at `offset` that are the last of the payload, and zeros above them.
#[inline(always)]
fn rest<S: Source>(value: S, offset: usize) -> Result<u64, Outcome> {
    let len = value.len();
    // The payload's last eight bytes hold them; a value so short is not worth a special case.
    if len < 8 || len <= offset || len >= offset + 8 {
        return Err(Outcome::KeyCut);
    }
    let last = value.after(S::settle(len - 8)).u64(0).ok_or(Outcome::KeyCut)?;
    Ok(last >> ((offset + 8 - len) * 8))
}

/// The key must end with its line: anything else behind it, blanks too, is for the proxy to read.
#[inline(always)]
fn end_of_line<S: Source>(value: S, offset: usize) -> Result<(), Outcome> {
    let end = value.after(offset);
    match end.u8(0) {
        Some(b'\n') => Ok(()),
        Some(b'\r') => match end.u8(1) {
            Some(b'\n') => Ok(()),
            Some(_) => Err(Outcome::Unusual),
            None => Err(Outcome::KeyCut),
        },
        Some(_) => Err(Outcome::Unusual),
        None => Err(Outcome::KeyCut),
    }
}

#[cfg(test)]
mod tests;
