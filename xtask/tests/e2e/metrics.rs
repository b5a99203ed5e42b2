//! The metrics, as Prometheus scrapes them.

use crate::{SOON, deploy, eventually, send};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use xtask::client::{Client, Outcome, Request};
use xtask::command;
use xtask::deployment::{DASHBOARD, Deployment, PORT};
use xtask::workspace;

/// Where Prometheus listens, on the host.
const PROMETHEUS: &str = "127.0.0.1:9091";

fn exposition(deployment: &Deployment) -> Result<String> {
    let token = format!("Bearer {}", deployment.token()?);
    let headers = [("Authorization", token.as_str())];
    let asked =
        deployment.lab.host.inside(|| Client::new(DASHBOARD).send(&Request::get("/metrics", &headers)))?;
    let Outcome::Answered(answer) = asked else { anyhow::bail!("{asked:?}") };
    ensure!(answer.status == 200, "{answer:?}");
    Ok(String::from_utf8(answer.body)?)
}

#[test]
fn promtool_finds_no_fault_and_grafana_asks_only_for_what_there_is() -> Result<()> {
    let deployment = deploy("reply", "", &[("acme", "professional")])?;
    send(&deployment, deployment.lab.host_v4(PORT), "acme", 120, |_| false)?;
    let mut text = String::new();
    eventually("a route has its name", || {
        text = exposition(&deployment)?;
        Ok(text.contains("route=\"GET /courses\""))
    })?;
    let promtool = command::find("promtool").context("promtool is missing: run `cargo xtask setup`")?;
    let mut check = Command::new(promtool);
    let mut check = check
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    check.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let checked = check.wait_with_output()?;
    let said =
        String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    ensure!(checked.status.success() && said.trim().is_empty(), "{said}\n{text}");
    let there: BTreeSet<_> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let grafana = std::fs::read_to_string(workspace::root().join("packaging/grafana.json"))?;
    let _: Value = serde_json::from_str(&grafana)?;
    let words = grafana.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let asked: BTreeSet<_> = words.filter(|word| word.starts_with("ratelimitd_")).collect();
    ensure!(asked.len() > 10, "{asked:?}");
    let missing: Vec<_> = asked.difference(&there).collect();
    ensure!(missing.is_empty(), "{missing:?} of {there:?}");
    Ok(())
}

#[test]
fn prometheus_scrapes_what_was_judged() -> Result<()> {
    let deployment = deploy("reply", "", &[("acme", "professional")])?;
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "acme", 130, |_| false)?;
    let directory = deployment.lab.directory();
    let config = directory.join("prometheus.yml");
    let token = directory.join("admin.token");
    std::fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: ratelimitd\n  authorization: \
             {{ credentials_file: {} }}\n  static_configs: [ {{ targets: ['{DASHBOARD}'] }} ]\n",
            token.display()
        ),
    )?;
    let program = command::find("prometheus").context("prometheus is missing: run `cargo xtask setup`")?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", directory.join("prometheus").display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut prometheus = deployment.lab.start("prometheus", &program, &arguments)?;
    prometheus
        .wait_until(SOON, |prometheus| Ok(prometheus.log().contains("ready to receive web requests")))?;
    let query = |of: &str| -> Result<Option<u64>> {
        let path = format!("/api/v1/query?query={of}");
        let asked = deployment
            .lab
            .host
            .inside(|| Client::new(PROMETHEUS.parse()?).send(&Request::get(&path, &[])))?;
        let Outcome::Answered(answer) = asked else { return Ok(None) };
        let answer: Value = serde_json::from_slice(&answer.body)?;
        let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        Ok(value.and_then(|value| value.parse::<f64>().ok()).map(|value| value as u64))
    };
    let is = |of: &'static str, value: u64| eventually(of, || Ok(query(of)? == Some(value)));
    is("sum(up)", 1)?;
    is("sum(ratelimitd_requests_total%7Boutcome=%22admitted%22%7D)", tally.admitted)?;
    is("sum(ratelimitd_refusals_total)", 130 - tally.admitted)?;
    is("sum(ratelimitd_interface_attached)", 1)?;
    is("sum(ratelimitd_upstream_wait_seconds_count)", tally.admitted)
}
