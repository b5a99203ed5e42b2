//! Paths as API servers read them.
//!
//! Servers do not agree on what a path says. One takes `%2F` or `\` for a slash and another does not; one resolves
//! `..`, before it merges slashes or after, and another takes it for a name; one cuts `;jsessionid=1` off; one
//! takes the first part of `//a/b` for a host; and a chain of servers does one of these after the other. Which of
//! them stand behind the proxy is not known. So a path is read in all of these ways: a *reading* is whatever some
//! sequence of [`Step`]s makes of it, and a rule that applies to one reading applies to the request. That can only
//! be stricter than the server: no spelling evades a rule. Nearly every path has one reading.
//!
//! Other bytes are decoded from the start, over and over until nothing is left to decode, and empty parts count as
//! none when rules are looked up, as does a slash at the end. A query is no part of a path.

/// Stands for a slash that was encoded.
const ENCODED_SLASH: u8 = 0;

/// Stands for a dot that was encoded.
const ENCODED_DOT: u8 = 1;

/// A path that can be read in several ways may have so many bytes,
const MOST_BYTES: usize = 8 << 10;

/// and so many readings. That is more than anybody sends in good faith, and bounds the time that reading takes.
const MOST_READINGS: usize = 32;

/// A request target that no client sends in good faith: with a fragment, which has no place there, with an encoded
/// zero byte, at which some servers stop reading, or with more readings than are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

/// Memory for a path and its readings.
#[derive(Debug, Default)]
pub struct Room {
    readings: Vec<Vec<u8>>,
    reading: Vec<u8>,
}

/// What some server does to a path, and another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An encoded slash becomes a slash.
    EncodedSlashes,
    /// A backslash becomes a slash.
    Backslashes,
    /// An encoded dot becomes a dot.
    EncodedDots,
    /// Of each part, what follows a semicolon goes.
    Parameters,
    /// Slashes in a row become one.
    Merge,
    /// `.` goes, and `..` with the part before it (RFC 3986, section 5.2.4).
    Resolve,
    /// What stands between two slashes at the start and the next one goes.
    Host,
}

const STEPS: [Step; 7] = [
    Step::EncodedSlashes,
    Step::Backslashes,
    Step::EncodedDots,
    Step::Parameters,
    Step::Merge,
    Step::Resolve,
    Step::Host,
];

/// Calls `visit` with each reading of the path in `target`, which is a path with or without a query: `/` and the
/// method, in capitals, then each part of the path behind a slash. Letters of the path are made small unless
/// `case_sensitive`.
pub(super) fn each_reading(
    room: &mut Room,
    method: &str,
    target: &str,
    case_sensitive: bool,
    mut visit: impl FnMut(&str),
) -> Result<(), BadTarget> {
    let Room { readings, reading } = room;
    let path = target.split('?').next().unwrap_or_default();
    let mut first = readings.pop().unwrap_or_default();
    readings.clear();
    decode(path.as_bytes(), &mut first)?;
    if !case_sensitive {
        first.make_ascii_lowercase();
    }
    let is_odd = is_odd(&first);
    readings.push(first);
    if is_odd {
        read_on(readings)?;
    }
    reading.clear();
    reading.push(b'/');
    reading.extend(method.bytes().map(|letter| letter.to_ascii_uppercase()));
    let start = reading.len();
    for path in readings {
        reading.truncate(start);
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            reading.push(b'/');
            reading.extend(part.iter().map(|byte| if *byte == ENCODED_DOT { b'.' } else { *byte }));
        }
        visit(&String::from_utf8_lossy(reading));
    }
    Ok(())
}

/// Decodes until nothing is left to decode. Each byte is looked at once: a decoded one may complete another code.
fn decode(path: &[u8], decoded: &mut Vec<u8>) -> Result<(), BadTarget> {
    decoded.clear();
    for byte in path {
        if *byte == b'#' {
            return Err(BadTarget);
        }
        decoded.push(*byte);
        while let [.., b'%', high, low] = decoded.as_slice()
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(match high << 4 | low {
                0 => return Err(BadTarget),
                b'/' => ENCODED_SLASH,
                b'.' => ENCODED_DOT,
                byte => byte,
            });
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a step could change what the path says.
fn is_odd(path: &[u8]) -> bool {
    let is_mark = |byte: &u8| matches!(*byte, ENCODED_SLASH | ENCODED_DOT | b'\\' | b';');
    path.starts_with(b"//") || path.iter().any(is_mark) || path.windows(2).any(|two| two == b"/.")
}

/// Adds to a path all that steps make of it, and of what they make.
fn read_on(readings: &mut Vec<Vec<u8>>) -> Result<(), BadTarget> {
    let mut index = 0;
    while let Some(path) = readings.get(index) {
        if path.len() > MOST_BYTES {
            return Err(BadTarget);
        }
        for made in STEPS.map(|step| step.of(path)) {
            if !readings.contains(&made) {
                readings.push(made);
            }
        }
        if readings.len() > MOST_READINGS {
            return Err(BadTarget);
        }
        index += 1;
    }
    Ok(())
}

impl Step {
    /// What it makes of `path`.
    fn of(self, path: &[u8]) -> Vec<u8> {
        match self {
            Self::EncodedSlashes => replaced(path, ENCODED_SLASH, b'/'),
            Self::Backslashes => replaced(path, b'\\', b'/'),
            Self::EncodedDots => replaced(path, ENCODED_DOT, b'.'),
            Self::Parameters => {
                let names =
                    parts(path).map(|part| part.split(|byte| *byte == b';').next().unwrap_or_default());
                names.collect::<Vec<_>>().join(&b'/')
            }
            Self::Merge => {
                let mut merged = path.to_vec();
                merged.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
                merged
            }
            Self::Resolve => resolved(path),
            Self::Host if path.starts_with(b"//") => {
                let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
                let host = path.iter().skip(start).position(|byte| *byte == b'/').unwrap_or(path.len());
                path.get(start + host..).unwrap_or(b"/").to_vec()
            }
            Self::Host => path.to_vec(),
        }
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

fn replaced(path: &[u8], from: u8, to: u8) -> Vec<u8> {
    path.iter().map(|byte| if *byte == from { to } else { *byte }).collect()
}

fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in parts(path) {
        match part {
            b"." => {}
            // The first part is before the first slash, and stays.
            b".." => kept.truncate(kept.len().saturating_sub(1).max(1)),
            part => kept.push(part),
        }
    }
    kept.join(&b'/')
}
