//! `ratelimitd keys` and `ratelimitd check`, as an operator or a script uses them.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in the functions that the tests share too"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const CONFIG: &str = "\
[proxy]
listen = [\"127.0.0.1:8080\"]
upstream = \"127.0.0.1:9000\"
[keys]
file = \"keys.toml\"
[tiers.partner]
requests_per_hour = 50
burst_per_minute = 5
";

/// A directory with a configuration.
struct Site(TempDir);

/// What a run of the program came to.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::write(site.config(), CONFIG).unwrap();
        site
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("ratelimitd.toml")
    }

    fn key_file(&self) -> PathBuf {
        self.0.path().join("keys.toml")
    }

    /// `ARGUMENTS --config FILE`, the arguments split at blanks.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimitd"));
        command
            .args(arguments.split_whitespace())
            .arg("--config")
            .arg(self.config())
            .env_remove("RATELIMITD_LOG");
        command
    }

    fn run(&self, arguments: &str) -> Run {
        self.command(arguments).output().unwrap().into()
    }

    fn run_with_input(&self, arguments: &str, input: &[u8]) -> Run {
        let piped = |command: &mut Command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut child = piped(&mut self.command(arguments));
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    #[track_caller]
    fn ok(&self, arguments: &str) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments}: {run:?}");
        run
    }

    /// A run that must fail with `code` and say `text`, on standard error alone.
    #[track_caller]
    fn fails(&self, arguments: &str, code: i32, text: &str) {
        let run = self.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{arguments}: {run:?}");
        assert!(run.stderr.contains(text), "{arguments}: {text:?} in {}", run.stderr);
    }

    fn list(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok("keys list --json").stdout).unwrap()
    }
}

#[test]
fn an_added_key_is_shown_once_and_kept_as_hashes_alone() {
    let site = Site::new();
    let added = site.ok("keys add acme-prod --tier professional");
    let key = added.stdout.strip_suffix('\n').unwrap();
    assert_eq!(key.len(), 31);
    assert!(key.starts_with("rl_") && key.bytes().skip(3).all(|byte| byte.is_ascii_alphanumeric()), "{key}");
    assert!(added.stderr.contains("acme-prod") && !added.stderr.contains(key), "{}", added.stderr);
    for said in [
        fs::read_to_string(site.key_file()).unwrap(),
        site.ok("keys list").stdout,
        site.ok("keys list --json").stdout,
        site.ok("check").stdout,
    ] {
        assert!(!said.contains(key) && !said.contains(&key[3..]), "{said}");
    }
    assert_ne!(site.ok("keys add acme-test --tier professional").stdout, added.stdout);
}

#[test]
fn an_existing_key_is_taken_from_standard_input() {
    let site = Site::new();
    let add = "keys add old --tier enterprise --key-stdin";
    for wrong in [
        &b"short"[..],
        b"",
        b"with a space",
        b"two-lines\ntwo-lines",
        b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8",
        &[b'k'; 65],
    ] {
        let run = site.run_with_input(add, wrong);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{wrong:?}: {run:?}");
        let told = "standard input: not a key; allowed: 8 to 64 visible ASCII characters, no spaces\n";
        assert_eq!(run.stderr, told, "{wrong:?}");
    }
    let run = site.run_with_input(add, b"existing-key\r\n");
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    let again = site.run_with_input("keys add other --tier enterprise --key-stdin", b"existing-key");
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("there already, under the name \"old\""), "{}", again.stderr);
    let longest = site.run_with_input("keys add longest --tier enterprise --key-stdin", &[b'k'; 64]);
    assert_eq!(longest.code, Some(0), "{longest:?}");
    assert!(!fs::read_to_string(site.key_file()).unwrap().contains("existing-key"));
}

#[test]
fn keys_are_listed_as_they_are_changed() {
    let site = Site::new();
    site.ok("keys add a --tier professional");
    site.ok("keys add b.c --tier partner --requests-per-hour 60 --burst-per-minute 6");
    let table = site.ok("keys list").stdout;
    let columns: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(
        columns[0],
        ["NAME", "TIER", "REQUESTS/HOUR", "BURST/MINUTE", "STATE", "EXPIRES", "FINGERPRINT", "RULES"]
    );
    assert_eq!(columns[1][..6], ["a", "professional", "1000", "100", "enabled", "never"]);
    assert_eq!(columns[2][..6], ["b.c", "partner", "60*", "6*", "enabled", "never"]);
    let starts: Vec<_> = table.lines().map(|line| line.rfind("  ").unwrap()).collect();
    assert!(starts.iter().all(|start| *start == starts[0]), "aligned:\n{table}");

    site.ok("keys disable a");
    site.ok("keys set b.c --tier enterprise --requests-per-hour default --burst-per-minute 7");
    let list = site.list();
    assert_eq!((&list[0]["name"], &list[0]["enabled"]), (&"a".into(), &false.into()));
    assert_eq!(list[0]["overrides"], serde_json::json!([]));
    let fingerprint = list[1]["fingerprint"].as_str().unwrap();
    let expected = serde_json::json!({
        "name": "b.c", "tier": "enterprise", "fingerprint": fingerprint, "enabled": true, "expires": null, "has_expired": false,
        "requests_per_hour": 10_000, "burst_per_minute": 7, "rules": {}, "overrides": ["burst_per_minute"],
    });
    assert_eq!(list[1], expected);
    site.ok("keys set b.c --rule export=50 --rule search=7");
    site.ok("keys set b.c --rule search=default");
    let list = site.list();
    assert_eq!(list[1]["rules"], serde_json::json!({"export": 50}));
    assert_eq!(list[1]["overrides"], serde_json::json!(["burst_per_minute", "rules.export"]));
    assert!(site.ok("keys list").stdout.contains("export=50*"));
    site.fails("keys set b.c --rule exports=1", 2, "unknown rule \"exports\"; allowed: bulk, export, search");
    site.fails("keys set b.c --rule export=0", 2, "allowed: 1 to 1000000000, or default");
    assert!(fs::read_to_string(site.key_file()).unwrap().contains(&format!("sha256 = \"{fingerprint}")));

    site.ok("keys enable a");
    site.ok("keys remove b.c");
    let list = site.list();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["enabled"]), (1, &true.into()));
}

#[test]
fn a_key_may_expire() {
    let site = Site::new();
    site.ok("keys add a --tier professional --expires 2099-01-31T12:00:00+01:00");
    site.ok("keys add b --tier professional --expires 90d");
    site.ok("keys add c --tier professional");
    let list = site.list();
    assert_eq!(
        (&list[0]["expires"], &list[0]["has_expired"]),
        (&"2099-01-31T11:00:00Z".into(), &false.into())
    );
    assert!(list[1]["expires"].is_string() && list[2]["expires"].is_null());
    site.ok("keys set b --expires never");
    site.ok("keys set c --expires 12h --tier enterprise");
    let list = site.list();
    assert!(list[1]["expires"].is_null() && list[2]["expires"].is_string());
    site.fails("keys add d --tier professional --expires 2020-01-01T00:00:00Z", 2, "is not in the future");
    site.fails("keys set c --expires tomorrow", 2, "is no time; write a time with its offset");

    let text = fs::read_to_string(site.key_file()).unwrap();
    assert!(text.contains("expires = 2099-01-31T11:00:00Z"), "{text}");
    fs::write(site.key_file(), text.replace("2099-01-31T11:00:00Z", "2020-01-31T11:00:00Z")).unwrap();
    assert_eq!(site.list()[0]["has_expired"], serde_json::json!(true));
    assert!(site.ok("keys list").stdout.contains(" expired "));
    fs::write(site.key_file(), text.replace("2099-01-31T11:00:00Z", "2099-01-31")).unwrap();
    site.fails(
        "keys list",
        2,
        "key.expires: expected a time with its offset, such as 2027-01-31T12:00:00Z, found a date",
    );
}

#[test]
fn what_cannot_be_done_exits_with_1_and_what_cannot_be_asked_with_2() {
    let site = Site::new();
    site.fails("keys list", 2, "no such key file; `ratelimitd keys add NAME --tier TIER` creates it");
    site.fails("keys remove a", 1, "no key is named \"a\"");
    site.ok("keys add a --tier professional");
    let before = fs::read(site.key_file()).unwrap();
    site.fails("keys add a --tier professional", 1, "there is a key named \"a\" already");
    site.fails("keys set nobody --tier partner", 1, "no key is named \"nobody\"");
    site.fails("keys disable nobody", 1, "no key is named \"nobody\"");
    site.fails("keys enable nobody", 1, "no key is named \"nobody\"");
    let tiers = "--tier: unknown tier \"gold\"; allowed: enterprise, partner, professional";
    site.fails("keys add b --tier gold", 2, tiers);
    site.fails("keys set a --tier gold", 2, tiers);
    site.fails("keys add b", 2, "--tier <TIER>");
    site.fails("keys set a", 2, "--requests-per-hour <N|default>");
    site.fails("keys add b/c --tier partner", 2, "\"b/c\" cannot be a name; allowed: 1 to 64 letters");
    site.fails("keys add b --tier partner --requests-per-hour 0", 2, "0 is not in 1..=1000000000");
    site.fails("keys set a --burst-per-minute 10000001", 2, "allowed: 1 to 10000000, or default");
    site.fails("keys", 2, "Usage: ratelimitd keys");
    site.fails("frobnicate", 2, "unrecognized subcommand");
    assert_eq!(fs::read(site.key_file()).unwrap(), before, "nothing of it changed the file");
}

#[test]
fn a_key_that_nobody_could_read_is_told() {
    let site = Site::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = site.command("keys add lost --tier partner").stdout(full).output().unwrap();
    let run = Run::from(output);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("`ratelimitd keys remove lost`"), "{}", run.stderr);
}

#[test]
fn processes_that_add_keys_at_once_lose_none() {
    let site = Site::new();
    let names: Vec<_> = (0..12).map(|number| format!("key-{number:02}")).collect();
    let start = |name: &String| {
        site.command(&format!("keys add {name} --tier partner"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    };
    let children: Vec<_> = names.iter().map(|name| start(name).unwrap()).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let list = site.list();
    let mut listed: Vec<_> =
        list.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
}

#[test]
fn a_right_configuration_is_summed_up() {
    let site = Site::new();
    assert!(site.ok("check").stdout.contains("keys        none; the first"));
    site.ok("keys add a --tier partner");
    site.ok("keys add b --tier partner");
    site.ok("keys disable b");
    let (config, keys) = (site.config(), site.key_file());
    let expected = format!(
        "{}: ok\n  listens on  127.0.0.1:8080\n  upstream    127.0.0.1:9000\n  kernel      not used\n  \
         tiers       enterprise, partner, professional\n  keys        2 (1 disabled, 0 expired) in {}\n",
        config.display(),
        keys.display()
    );
    assert_eq!(site.ok("check").stdout, expected);
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    let site = Site::new();
    let told = |path: &Path, text: &str| format!("{}{text}", path.display());
    site.ok("keys add a --tier partner");
    fs::write(site.config(), CONFIG.replace("partner", "other")).unwrap();
    let unknown = ":5: key.tier: key \"a\" has the unknown tier \"partner\"; allowed: enterprise, other, professional\n";
    site.fails("check", 2, &told(&site.key_file(), unknown));
    let list = site.ok("keys list");
    assert!(list.stdout.contains('?') && list.stderr.contains("no tier \"partner\""), "{list:?}");
    site.ok("keys set a --tier other");
    site.ok("check");

    fs::write(site.config(), format!("action = \"bounce\"\n{CONFIG}[kernel]\nattach = \"fast\"\n")).unwrap();
    let both = format!(
        "{}{}",
        told(&site.config(), ":1: action: unknown value \"bounce\"; allowed: reply, reset, drop, observe\n"),
        told(
            &site.config(),
            ":11: kernel.attach: unknown value \"fast\"; allowed: auto, native, generic, tc\n"
        ),
    );
    for command in ["check", "keys list", "keys add b --tier professional", "run"] {
        site.fails(command, 2, &both);
    }
    fs::remove_file(site.config()).unwrap();
    site.fails("run", 2, &told(&site.config(), ": cannot read this file: No such file or directory"));
}

#[test]
fn the_version_and_the_log_setting() {
    let site = Site::new();
    assert_eq!(site.ok("version").stdout, concat!("ratelimitd ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(site.ok("--version").stdout, site.ok("version").stdout);
    let wrong = Run::from(site.command("version").env("RATELIMITD_LOG", "loud=very").output().unwrap());
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.starts_with("RATELIMITD_LOG: "), "{}", wrong.stderr);
}

#[test]
fn an_exposed_key_file_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.ok("keys add a --tier partner");
    assert_eq!(site.ok("check").stderr, "");
    fs::set_permissions(site.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let check = site.ok("check");
    assert!(check.stderr.contains("has mode 644") && check.stderr.contains("chmod 600"), "{}", check.stderr);
}

#[test]
fn the_effective_configuration_is_one_that_means_the_same() {
    let site = Site::new();
    let all = site.ok("check --dump-effective").stdout;
    assert!(all.contains("[tiers.partner]\n") && all.contains("head_timeout_seconds = 10\n"), "{all}");
    fs::write(site.config(), &all).unwrap();
    assert_eq!(site.ok("check --dump-effective").stdout, all);
    fs::write(site.config(), format!("{CONFIG}[kernel]\nattach = \"fast\"\n")).unwrap();
    let wrong = site.run("check --dump-effective");
    assert!(wrong.code == Some(2) && wrong.stdout.is_empty(), "{wrong:?}");
    assert!(wrong.stderr.contains("ratelimitd.toml:10: kernel.attach: unknown value"), "{wrong:?}");
}
