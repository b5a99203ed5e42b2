use super::*;
use crate::keys::{PlainKey, update};
use crate::limiter::Limiter;
use crate::places::Places;
use crate::slots::Slots;
use std::path::PathBuf;
use tempfile::TempDir;

const MAX_KEYS: u32 = 8;

/// A key file that is changed, and the policies that follow from it.
struct Site {
    directory: TempDir,
    tiers: Tiers,
}

impl Site {
    fn new(names: &[&str]) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap(), tiers: built_in_tiers() };
        names.iter().for_each(|name| site.add(name));
        site
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keys.toml")
    }

    fn change(&self, change: impl FnOnce(&mut KeyFile) -> anyhow::Result<()>) {
        update(&self.path(), change).unwrap();
    }

    fn add(&self, name: &str) {
        self.change(|file| file.add(&plain(name), name, "professional", None, None));
    }

    fn build(&self, previous: Option<&Policy>) -> Result<Policy, Problems> {
        let (rules, file) = (Rules::built_in(), KeyFile::load(&self.path()).unwrap());
        match previous {
            None => Policy::first(&self.tiers, &rules, &file, Places::new(MAX_KEYS)),
            Some(previous) => previous.next(&self.tiers, &rules, &file),
        }
    }
}

/// A key's text, from its name.
fn plain(name: &str) -> PlainKey {
    PlainKey::import(&format!("secret-of-{name}")).unwrap()
}

fn get<'a>(policy: &'a Policy, name: &str) -> &'a Arc<Key> {
    policy.authenticate(plain(name).reveal().as_bytes()).unwrap()
}

fn slots(policy: &Policy) -> Vec<u32> {
    policy.keys().map(|key| key.slot).collect()
}

#[test]
fn a_key_is_known_by_its_whole_text() {
    let site = Site::new(&["a", "b"]);
    site.change(|file| {
        file.entry_mut("b")?.disabled = true;
        Ok(())
    });
    let policy = site.build(None).unwrap();
    let a = get(&policy, "a");
    assert_eq!((a.name.as_str(), a.tier.as_str(), a.enabled), ("a", "professional", true));
    assert_eq!(a.limits, Limits { requests_per_hour: 1_000, burst_per_minute: 100, rules: Arc::default() });
    assert_eq!(a.siphash, plain("a").siphash(policy.secret()));
    assert_eq!(a.fingerprint.len(), 8);
    assert!(!get(&policy, "b").enabled, "a disabled key is found, to be told apart from an unknown one");
    for other in ["", "secret-of-", "secret-of-a ", "SECRET-OF-A", a.fingerprint.as_str()] {
        assert!(policy.authenticate(other.as_bytes()).is_none(), "{other:?}");
    }
}

#[test]
fn a_change_keeps_slot_and_usage() {
    let mut site = Site::new(&["gone", "kept", "changed"]);
    let before = site.build(None).unwrap();
    site.change(|file| file.remove("gone"));
    site.change(|file| {
        let entry = file.entry_mut("changed")?;
        entry.name = "renamed".to_owned();
        entry.requests_per_hour = Some(5);
        Ok(())
    });
    site.add("new");
    let after = site.build(Some(&before)).unwrap();
    assert!(Arc::ptr_eq(get(&before, "kept"), get(&after, "kept")));
    let (old, new) = (get(&before, "changed"), get(&after, "changed"));
    assert_eq!((new.slot, new.name.as_str(), new.limits.requests_per_hour), (old.slot, "renamed", 5));
    assert!(Arc::ptr_eq(&old.usage, &new.usage));

    let changes = after.changes(&before);
    let names = |keys: &[&Arc<Key>]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&changes.removed), names(&changes.added)), (vec!["gone".into()], vec!["new".into()]));
    let [(was, is)] = changes.changed[..] else { panic!("{changes:?}") };
    assert!(Arc::ptr_eq(was, old) && Arc::ptr_eq(is, new));

    let slower = Limits { requests_per_hour: 1_000, burst_per_minute: 1, rules: Arc::default() };
    site.tiers.insert("professional".to_owned(), slower);
    let retiered = site.build(Some(&after)).unwrap();
    assert_eq!(retiered.changes(&after).changed.len(), 3, "a tier's limits are its keys' limits");
    assert!(Arc::ptr_eq(&get(&retiered, "kept").usage, &get(&before, "kept").usage));
    assert!(site.build(Some(&retiered)).unwrap().changes(&retiered).is_empty());
}

#[test]
fn a_freed_slot_is_given_again_after_all_others() {
    let site = Site::new(&["a", "b", "c"]);
    let mut policy = site.build(None).unwrap();
    assert_eq!(slots(&policy), [0, 1, 2]);
    site.change(|file| file.remove("b"));
    site.add("d");
    policy = site.build(Some(&policy)).unwrap();
    assert_eq!(slots(&policy), [0, 2, 3], "a slot that was never used comes first");
    site.change(|file| file.remove("a"));
    policy = site.build(Some(&policy)).unwrap();
    for name in ["e", "f", "g", "h", "i", "j"] {
        site.add(name);
    }
    policy = site.build(Some(&policy)).unwrap();
    assert_eq!(slots(&policy), [2, 3, 4, 5, 6, 7, 1, 0], "then the one that has been free for longest");
}

#[test]
fn a_slot_goes_from_one_key_to_another_in_one_change() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let site = Site::new(&names);
    let before = site.build(None).unwrap();
    site.change(|file| file.remove("d"));
    site.add("i");
    let after = site.build(Some(&before)).unwrap();
    assert_eq!(get(&after, "i").slot, get(&before, "d").slot);
    assert!(!Arc::ptr_eq(&get(&after, "i").usage, &get(&before, "d").usage));
    let changes = after.changes(&before);
    assert_eq!((changes.removed.len(), changes.added.len(), changes.changed.len()), (1, 1, 0));
}

#[test]
fn a_policy_that_is_refused_says_why() {
    let site = Site::new(&["a", "b"]);
    site.change(|file| {
        file.entry_mut("b")?.tier = "gold".to_owned();
        Ok(())
    });
    let path = site.path().display().to_string();
    assert_eq!(
        site.build(None).unwrap_err().to_string(),
        format!(
            "{path}:11: key.tier: key \"b\" has the unknown tier \"gold\"; allowed: enterprise, professional"
        )
    );
    let many = Site::new(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    let path = many.path().display().to_string();
    let told = many.build(None).unwrap_err().to_string();
    assert_eq!(told, format!("{path}: 9 keys; kernel.max_keys allows 8"));
}

#[test]
fn keys_expire_in_their_order() {
    let site = Site::new(&["a", "b", "c", "d", "e"]);
    let expire = |name: &str, second| {
        let time = Some(jiff::Timestamp::from_second(second).unwrap());
        site.change(|file| file.entry_mut(name).map(|entry| entry.expires = time));
    };
    [("a", 300), ("c", 100), ("d", 200), ("e", -5)]
        .into_iter()
        .for_each(|(name, second)| expire(name, second));
    let policy = site.build(None).unwrap();
    let names = |from, to| policy.expiring(from, to).map(|key| key.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0, 1_000), ["c", "d", "a"]);
    assert_eq!((names(100, 200), names(99, 100), names(300, 301)), (vec!["d"], vec!["c"], vec![]));
    let is_usable = |name, now| get(&policy, name).is_usable(now);
    assert!(is_usable("a", 299) && !is_usable("a", 300) && is_usable("b", u64::MAX) && !is_usable("e", 0));

    expire("a", 301);
    let next = site.build(Some(&policy)).unwrap();
    let changes = next.changes(&policy);
    assert_eq!((changes.changed.len(), changes.added.len(), changes.removed.len()), (1, 0, 0));
}

#[test]
fn what_no_longer_counts_takes_no_memory() {
    let site = Site::new(&["a", "b"]);
    let policy = site.build(None).unwrap();
    let limiter = Limiter::new(Slots::anonymous(MAX_KEYS).unwrap(), false);
    let used = || policy.keys().map(|key| key.usage.heap_bytes()).collect::<Vec<_>>();
    policy.keys().for_each(|key| drop(limiter.judge(key, &[], None, SECOND_NS)));
    let tidy = |seconds: std::ops::Range<u64>| seconds.for_each(|second| policy.tidy(second * SECOND_NS));
    tidy(1_000..1_600);
    assert!(used().iter().all(|bytes| *bytes > 0), "{:?}", used());
    tidy(3_602..4_202);
    assert_eq!(used(), [0, 0]);
}
