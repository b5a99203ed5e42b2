//! The text of a key file, read and written.

use super::{Entry, KeyFile};
use crate::document::{self, Field, Problem, Problems, Refused, Section};
use crate::policy::{Limits, RuleLimits, check_key_name};
use ratelimit_common::hash::Secret;
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use toml::value::Datetime;

const VERSION: u32 = 1;
const HEADING: &str = "\
# API keys of ratelimitd: hashes only. `ratelimitd keys` changes this file; it keeps no comments.
";

pub(super) fn load(path: &Path) -> Result<KeyFile, Problems> {
    match fs::metadata(path) {
        Ok(metadata) => warn_if_exposed(path, metadata.permissions().mode()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = "no such key file; `ratelimitd keys add NAME --tier TIER` creates it";
            return Err(Problem::in_file(path, None, text).into());
        }
        // Reading it will say what is wrong.
        Err(_) => {}
    }
    document::read(path, |top| key_file(top, path))
}

fn warn_if_exposed(path: &Path, mode: u32) {
    if mode & 0o077 != 0 {
        let (path, mode) = (path.display(), mode & 0o777);
        tracing::warn!(
            "{path} has mode {mode:03o}: others than its owner can use it; set it with `chmod 600 {path}`"
        );
    }
}

fn key_file(top: &Section<'_>, path: &Path) -> Result<KeyFile, Refused> {
    let version = top.required("version", "version = 1", |field| field.whole(VERSION..=VERSION));
    let secret = top.required("secret", "32 hex digits, drawn at random and never changed", secret);
    let mut seen = Seen::default();
    let entries = top.sections("key", |section| {
        let entry = entry(section)?;
        seen.note(section, &entry)?;
        Ok(entry)
    });
    version?;
    Ok(KeyFile { path: path.to_owned(), secret: secret?, entries })
}

fn secret(field: &Field<'_>) -> Result<Secret, Refused> {
    let bytes: [u8; 16] = digits(field)?;
    let words = u128::from_le_bytes(bytes);
    Ok(Secret { k0: words as u64, k1: (words >> 64) as u64 })
}

fn entry(section: &Section<'_>) -> Result<Entry, Refused> {
    let name = section.required("name", "a name of your choice", |field| {
        field.parsed(|name| check_key_name(name).map(|()| name.to_owned()))
    });
    let tier = section.required("tier", "the name of a tier, such as \"professional\"", Field::text);
    let sha256 = section.required("sha256", "the key's SHA-256 in 64 hex digits", digits);
    let siphash = section.required("siphash", "the key's SipHash in 16 hex digits", digits);
    let disabled = section.or("disabled", false, Field::boolean);
    let expires = section.optional("expires", Field::time);
    let requests_per_hour =
        section.optional("requests_per_hour", |field| field.whole(Limits::REQUESTS_PER_HOUR));
    let burst_per_minute =
        section.optional("burst_per_minute", |field| field.whole(Limits::BURST_PER_MINUTE));
    let rules = section.values("rules", |_, field| field.whole(Limits::RULE));
    Ok(Entry {
        name: name?,
        tier: tier?.to_owned(),
        sha256: sha256?,
        siphash: u64::from_be_bytes(siphash?),
        disabled,
        expires,
        requests_per_hour,
        burst_per_minute,
        rules: rules.into_iter().collect(),
        line: section.line(),
    })
}

/// Exactly `2 * N` hex digits. The refusal does not repeat the value: somebody may have put a key there.
fn digits<const N: usize>(field: &Field<'_>) -> Result<[u8; N], Refused> {
    unhex(field.text()?).ok_or_else(|| field.refuse(format_args!("allowed: {} hex digits", 2 * N)))
}

/// What two keys must not share, with the line of the first that has it.
#[derive(Default)]
struct Seen {
    names: HashMap<String, Option<usize>>,
    sha256: HashMap<[u8; 32], Option<usize>>,
    siphash: HashMap<u64, Option<usize>>,
}

impl Seen {
    fn note(&mut self, section: &Section<'_>, entry: &Entry) -> Result<(), Refused> {
        note(&mut self.names, section, "name", entry.name.clone())?;
        note(&mut self.sha256, section, "sha256", entry.sha256)?;
        note(&mut self.siphash, section, "siphash", entry.siphash)
    }
}

fn note<T: Eq + Hash>(
    seen: &mut HashMap<T, Option<usize>>,
    section: &Section<'_>,
    field: &str,
    value: T,
) -> Result<(), Refused> {
    match seen.insert(value, section.line()) {
        None => Ok(()),
        Some(first) => {
            let first = first.map_or_else(String::new, |line| format!(" at line {line}"));
            Err(section.refuse(field, &format!("another key{first} has the same; no two keys may")))
        }
    }
}

#[derive(Serialize)]
struct FileText<'a> {
    version: u32,
    secret: String,
    #[serde(rename = "key")]
    entries: Vec<EntryText<'a>>,
}

#[derive(Serialize)]
struct EntryText<'a> {
    name: &'a str,
    tier: &'a str,
    sha256: String,
    siphash: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Datetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_hour: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "RuleLimits::is_empty")]
    rules: &'a RuleLimits,
}

/// The text of `file`, which [`load`] reads back.
pub(super) fn text(file: &KeyFile) -> Result<String, toml::ser::Error> {
    let Secret { k0, k1 } = file.secret;
    let secret = hex(&(u128::from(k1) << 64 | u128::from(k0)).to_le_bytes());
    let entries = file.entries.iter().map(|entry| EntryText {
        name: &entry.name,
        tier: &entry.tier,
        sha256: hex(&entry.sha256),
        siphash: format!("{:016x}", entry.siphash),
        disabled: entry.disabled,
        // Both write RFC 3339.
        expires: entry.expires.and_then(|time| time.to_string().parse().ok()),
        requests_per_hour: entry.requests_per_hour,
        burst_per_minute: entry.burst_per_minute,
        rules: &entry.rules,
    });
    let text = toml::to_string(&FileText { version: VERSION, secret, entries: entries.collect() })?;
    Ok(format!("{HEADING}{text}"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}
