use super::*;
use crate::policy::built_in_tiers;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const SHA256: &str = "7d80f1c3290825e7d5d1d50d9996fe43ed98a1f3ed47aa370a29b045d38963e4";
const HEAD: &str = "version = 1\nsecret = \"000102030405060708090a0b0c0d0e0f\"\n";

fn key(number: u64) -> PlainKey {
    PlainKey::import(&format!("key-of-test-{number}")).unwrap()
}

fn entry(name: &str, sha256: &str, siphash: &str) -> String {
    format!(
        "[[key]]\nname = \"{name}\"\ntier = \"enterprise\"\nsha256 = \"{sha256}\"\nsiphash = \"{siphash}\"\n"
    )
}

/// What [`KeyFile::load`] says of `text`, without the file's path.
fn load(text: &str) -> Result<KeyFile, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    fs::write(&path, text).unwrap();
    KeyFile::load(&path)
        .map_err(|problems| problems.to_string().replace(&path.display().to_string(), "keys.toml"))
}

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    assert_eq!(load(text).expect_err("a refusal"), expected);
}

#[test]
fn a_file_is_read() {
    let text =
        format!("{HEAD}{}disabled = true\nburst_per_minute = 7\n", entry("acme", SHA256, "31cfa71d54dca529"));
    let file = load(&text).unwrap();
    assert!(file.secret() == Secret { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 });
    let [acme] = file.entries() else { panic!("{:?}", file.entries()) };
    assert_eq!((acme.name.as_str(), acme.tier.as_str(), acme.line), ("acme", "enterprise", Some(3)));
    assert_eq!((acme.sha256[0], acme.sha256[31], acme.siphash), (0x7d, 0xe4, 0x31cf_a71d_54dc_a529));
    assert_eq!((acme.disabled, acme.requests_per_hour, acme.burst_per_minute), (true, None, Some(7)));
    assert_eq!(acme.fingerprint(), "7d80f1c3");
    let limits = acme.limits(&built_in_tiers()).unwrap();
    assert_eq!(limits, Limits { requests_per_hour: 10_000, burst_per_minute: 7, rules: Arc::default() });
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let right = entry("acme", SHA256, "31cfa71d54dca529");
    for (text, expected) in [
        (
            "secret = \"000102030405060708090a0b0c0d0e0f\"".to_owned(),
            "keys.toml: version: missing; write version = 1",
        ),
        (HEAD.replace("= 1", "= 2"), "keys.toml:1: version: 2 is out of range; allowed: 1 to 1"),
        (
            "version = 1".to_owned(),
            "keys.toml: secret: missing; write 32 hex digits, drawn at random and never changed",
        ),
        (HEAD.replace("0f\"", "0g\""), "keys.toml:2: secret: allowed: 32 hex digits"),
        (format!("{HEAD}[key]\n"), "keys.toml:3: key: expected a list, found a table"),
        (format!("{HEAD}[[keys]]\n"), "keys.toml:3: keys: unknown field; allowed: version, secret, key"),
        (
            format!("{HEAD}{}", right.replace("name", "nom")),
            "keys.toml:3: key.name: missing; write a name of your choice\n\
             keys.toml:4: key.nom: unknown field; allowed: name, tier, sha256, siphash, disabled, expires, \
             requests_per_hour, burst_per_minute, rules",
        ),
        (
            format!("{HEAD}{}", right.replace("acme", "a b")),
            "keys.toml:4: key.name: \"a b\" cannot be a name; allowed: 1 to 64 letters, digits, '.', '_' and '-'",
        ),
        (
            format!("{HEAD}{right}requests_per_hour = 0\nburst_per_minute = 'x'"),
            "keys.toml:8: key.requests_per_hour: 0 is out of range; allowed: 1 to 1000000000\n\
             keys.toml:9: key.burst_per_minute: expected a whole number from 1 to 10000000, found a string",
        ),
    ] {
        assert_refused(&text, expected);
    }
}

#[test]
fn a_key_in_place_of_its_hash_is_not_repeated() {
    let text = format!("{HEAD}{}", entry("acme", "rl_secret", "rl_other"));
    assert_refused(
        &text,
        "keys.toml:6: key.sha256: allowed: 64 hex digits\nkeys.toml:7: key.siphash: allowed: 16 hex digits",
    );
}

#[test]
fn no_two_keys_share_a_name_or_a_hash() {
    let other = SHA256.replace("7d80", "0000");
    let with = |second: String| format!("{HEAD}{}{second}", entry("a", SHA256, "0000000000000001"));
    let told = "another key at line 3 has the same; no two keys may";
    for (second, line) in [
        (entry("a", &other, "0000000000000002"), "9: key.name"),
        (entry("b", &SHA256.to_uppercase(), "0000000000000002"), "11: key.sha256"),
        (entry("b", &other, "0000000000000001"), "12: key.siphash"),
    ] {
        assert_refused(&with(second), &format!("keys.toml:{line}: {told}"));
    }
    assert_eq!(load(&with(entry("b", &other, "0000000000000002"))).unwrap().entries().len(), 2);
}

#[test]
fn a_file_that_does_not_exist_is_told_with_what_creates_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    assert_eq!(
        KeyFile::load(&path).unwrap_err().to_string(),
        format!("{}: no such key file; `ratelimitd keys add NAME --tier TIER` creates it", path.display())
    );
}

#[test]
fn the_first_change_creates_the_file_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    update(&path, |file| file.add(&key(1), "one", "professional", None, None)).unwrap();
    let first = KeyFile::load(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(first.entries()[0].sha256, key(1).sha256());
    assert_eq!(first.entries()[0].siphash, key(1).siphash(first.secret()));
    update(&path, |file| file.add(&key(2), "two", "professional", None, None)).unwrap();
    assert!(KeyFile::load(&path).unwrap().secret() == first.secret(), "the secret stays");
    let other = directory.path().join("other.toml");
    update(&other, |_| Ok(())).unwrap();
    assert!(KeyFile::load(&other).unwrap().secret() != first.secret(), "each file draws its own");
    assert!(!fs::read_to_string(&path).unwrap().contains("key-of-test"));
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    assert!(update(&path, |file| file.remove("one")).is_err());
    assert!(!path.exists());
    update(&path, |file| file.add(&key(1), "one", "professional", None, None)).unwrap();
    let before = fs::read(&path).unwrap();
    let name_taken = update(&path, |file| file.add(&key(2), "one", "professional", None, None)).unwrap_err();
    assert!(name_taken.to_string().contains("named \"one\" already"), "{name_taken}");
    let key_taken = update(&path, |file| file.add(&key(1), "two", "professional", None, None)).unwrap_err();
    assert!(key_taken.to_string().contains("under the name \"one\""), "{key_taken}");
    let unknown = update(&path, |file| file.remove("two")).unwrap_err();
    assert!(unknown.to_string().contains("no key is named \"two\""), "{unknown}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let names: BTreeSet<_> =
        fs::read_dir(directory.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["keys.toml".into(), "keys.toml.lock".into()]),
        "nothing is left behind"
    );
}

#[test]
fn a_wrong_file_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    fs::write(&path, "version = 3").unwrap();
    let error = update(&path, |_| Ok(())).unwrap_err();
    assert!(error.is::<Problems>(), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "version = 3");
}

#[test]
fn a_symbolic_link_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("keys.toml"), directory.path().join("link.toml"));
    update(&path, |_| Ok(())).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    update(&link, |file| file.add(&key(1), "one", "professional", None, None)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(KeyFile::load(&path).unwrap().entries().len(), 1);
}

#[test]
fn no_change_of_several_at_once_is_lost() {
    const WRITERS: u64 = 8;
    const CHANGES: u64 = 6;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                for number in (0..CHANGES).map(|change| writer * CHANGES + change) {
                    let name = format!("key-{number}");
                    update(path, |file| file.add(&key(number), &name, "professional", None, None)).unwrap();
                }
            });
        }
    });
    let file = KeyFile::load(&path).unwrap();
    let names: BTreeSet<_> = file.entries().iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names, (0..WRITERS * CHANGES).map(|number| format!("key-{number}")).collect());
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let limit = |range| prop::option::of(range);
    let entry = (
        "[A-Za-z0-9._-]{1,64}",
        "[A-Za-z0-9_-]{1,64}",
        any::<[u8; 32]>(),
        any::<u64>(),
        any::<bool>(),
        limit(Limits::REQUESTS_PER_HOUR),
        limit(Limits::BURST_PER_MINUTE),
        prop::option::of(0..253_402_207_200_i64),
        prop::collection::btree_map("[A-Za-z0-9_-]{1,64}", Limits::RULE, 0..3),
    );
    let entry = entry.prop_map(
        |(name, tier, sha256, siphash, disabled, requests_per_hour, burst_per_minute, expires, rules)| {
            let entry = Entry { name, tier, sha256, siphash, disabled, ..Entry::default() };
            let expires = expires.map(|second| jiff::Timestamp::from_second(second).unwrap());
            Entry { requests_per_hour, burst_per_minute, expires, rules, ..entry }
        },
    );
    prop::collection::vec(entry, 0..12).prop_filter("names differ", |entries| {
        entries.iter().map(|entry| &entry.name).collect::<BTreeSet<_>>().len() == entries.len()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(k0: u64, k1: u64, entries in entries()) {
        let file = KeyFile { path: PathBuf::new(), secret: Secret { k0, k1 }, entries };
        let read = load(&format::text(&file).unwrap()).unwrap();
        prop_assert!(read.secret == file.secret);
        let read: Vec<_> = read.entries.into_iter().map(|entry| Entry { line: None, ..entry }).collect();
        prop_assert_eq!(read, file.entries);
    }
}
