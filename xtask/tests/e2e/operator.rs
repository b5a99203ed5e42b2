//! What an operator asks a daemon about its keys and its configuration.

use crate::{deploy, send};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Output};
use xtask::build;
use xtask::deployment::PORT;

fn ratelimitd(config: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(build::daemon_path(false)).args(arguments).arg("--config").arg(config).output()?)
}

fn told(config: &Path, arguments: &[&str]) -> Result<String> {
    let output = ratelimitd(config, arguments)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_key_that_is_refused_is_explained() -> Result<()> {
    let hour = "[tiers.small]\nrequests_per_hour = 5\nburst_per_minute = 6000\n";
    let deployment = deploy("reset", hour, &[("key", "small")])?;
    let config = deployment.config();
    let explain = || told(config, &["explain", "key", "GET", "/search/x?q=1"]);
    ensure!(explain()?.starts_with("admitted (key key, tier small)\n"), "{}", explain()?);
    send(&deployment, deployment.lab.host_v4(PORT), "key", 20, |_| false)?;
    let explained = explain()?;
    ensure!(explained.starts_with("refused by its limit hour, Retry-After "), "{explained}");
    ensure!(explained.lines().any(|line| line.starts_with("search  100")), "{explained}");
    let shown = told(config, &["keys", "show", "key"])?;
    ensure!(
        shown.contains("key: tier small, enabled") && shown.contains("admitted           5\n"),
        "{shown}"
    );
    ensure!(shown.contains("refused by hour    15\n"), "{shown}");
    let top = told(config, &["top", "--sort", "refused"])?;
    ensure!(
        top.lines().nth(1).is_some_and(|row| row.starts_with("key   small  5         15       0/5")),
        "{top}"
    );
    let counters = told(config, &["counters"])?;
    let count = |name: &str| -> Result<u64> {
        let line =
            counters.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        Ok(line.trim().parse()?)
    };
    // The kernel leaves a request to the proxy while that has the last one in hand.
    ensure!(count("refused_blocked ")? + count("busy ")? == 15, "{counters}");
    let unknown = ratelimitd(config, &["explain", "other", "GET", "/"])?;
    ensure!(
        unknown.status.code() == Some(1) && unknown.stderr.ends_with(b"there is no key \"other\"\n"),
        "{unknown:?}"
    );
    Ok(())
}

#[test]
fn a_reload_is_whole_or_not_at_all() -> Result<()> {
    let tier = "[tiers.small]\nrequests_per_hour = 5\nburst_per_minute = 6000\n";
    let deployment = deploy("reset", tier, &[("key", "small")])?;
    let (config, server) = (deployment.config(), deployment.lab.host_v4(PORT));
    ensure!(send(&deployment, server, "key", 9, |_| false)?.admitted == 5);
    let before = std::fs::read_to_string(config)?;
    let wrong = before.replace("requests_per_hour = 5", "requests_per_hour = 7\nburst = 1");
    std::fs::write(config, &wrong)?;
    let line = wrong.lines().position(|line| line == "burst = 1").context("the wrong line")? + 1;
    let refused = ratelimitd(config, &["reload", "--socket", &socket(config)?])?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(2), "{said}");
    ensure!(said.starts_with(&format!("{}:{line}: tiers.small.burst: unknown", config.display())), "{said}");
    ensure!(send(&deployment, server, "key", 3, |_| false)?.admitted == 0, "nothing was taken over");
    std::fs::write(config, before.replace("requests_per_hour = 5", "requests_per_hour = 7"))?;
    let said = told(config, &["reload"])?;
    ensure!(said == "keys changed: key\ntiers changed: small\n", "{said}");
    ensure!(send(&deployment, server, "key", 9, |_| false)?.admitted == 2, "what was used stays used");
    Ok(())
}

/// The rules are read again too: what a rule had counted stays counted, and one that goes lets everything pass.
#[test]
fn a_reload_takes_other_rules_over() -> Result<()> {
    let rule = "[rules.list]\nendpoints = [\"GET /courses\"]\nlimit = 3\n";
    let deployment = deploy("reset", rule, &[("key", "enterprise")])?;
    let (config, server) = (deployment.config(), deployment.lab.host_v4(PORT));
    ensure!(send(&deployment, server, "key", 5, |_| false)?.admitted == 3);
    let before = std::fs::read_to_string(config)?;
    std::fs::write(config, before.replace("limit = 3", "limit = 5"))?;
    let said = told(config, &["reload"])?;
    ensure!(said == "rules changed: list\n", "{said}");
    ensure!(send(&deployment, server, "key", 5, |_| false)?.admitted == 2, "what was used stays used");
    std::fs::write(config, before.replace("limit = 3", "limit = 0"))?;
    let refused = ratelimitd(config, &["reload"])?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    ensure!(send(&deployment, server, "key", 1, |_| false)?.admitted == 0, "nothing was taken over");
    std::fs::write(config, before.replace(rule, ""))?;
    let said = told(config, &["reload"])?;
    ensure!(said == "rules removed: list\n", "{said}");
    ensure!(send(&deployment, server, "key", 20, |_| false)?.admitted == 20, "no rule is left");
    Ok(())
}

fn socket(config: &Path) -> Result<String> {
    Ok(config.with_file_name("admin.sock").to_str().context("not UTF-8")?.to_owned())
}
