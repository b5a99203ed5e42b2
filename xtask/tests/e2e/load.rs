//! `ratelimitd load --verify`: it finds nothing wrong with ratelimitd, and much with a limiter that is.

use crate::{SOON, deploy};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::build;
use xtask::command;
use xtask::deployment::PORT;
use xtask::lab::Lab;
use xtask::load::{Load, Report};

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/load.toml")
}

/// The real daemon, its kernel program attached, under load of every kind.
fn nobody_is_judged_wrongly(action: &str) -> Result<()> {
    let deployment = deploy(action, "", &[])?;
    let scenario = scenario();
    let load = Load::new(&scenario).at(deployment.lab.host_v4(PORT)).verified();
    let report = load.with_made_keys(deployment.config()).run(&deployment.lab.client)?;
    let found = report.verification()?;
    let wrong = (found.wrongly_admitted, found.wrongly_refused, found.wrong_answers);
    assert_eq!(wrong, (0, 0, 0), "{:#?}", found.findings);
    assert_eq!((report.failed, found.unknown), (0, 0), "{:?}", report.failures);
    ensure!(report.refused_by_kernel() > 0, "{:?}", report.limits);
    // As many as the hour has, of each key: not one more and not one less.
    let spent: Vec<_> = report.keys.iter().filter(|key| key.name.starts_with("using-up-the-hour-")).collect();
    ensure!(spent.len() == 10 && spent.iter().all(|key| key.admitted == 40), "{spent:#?}");
    Ok(())
}

#[test]
fn nobody_is_judged_wrongly_where_the_kernel_replies() -> Result<()> {
    nobody_is_judged_wrongly("reply")
}

#[test]
fn nobody_is_judged_wrongly_where_the_kernel_resets() -> Result<()> {
    nobody_is_judged_wrongly("reset")
}

/// nginx with a bucket of another size than the clients were promised.
fn judged_by_nginx(burst: u32) -> Result<Report> {
    let lab = Lab::open()?;
    let (server, directory) = (lab.host_v4(PORT), lab.directory().display());
    let config = format!(
        "daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; limit_req_zone $http_x_api_key zone=keys:10m rate=180r/m; limit_req_status 429;\n\
         server {{ listen {server};\n\
         location / {{ limit_req zone=keys burst={burst} nodelay; error_page 404 =200 @ok; }}\n\
         location @ok {{ return 200 ''; }} }} }}\n"
    );
    let path = lab.directory().join("nginx.conf");
    std::fs::write(&path, config)?;
    let nginx = command::find("nginx").context("nginx is missing: run `cargo xtask setup`")?;
    let path = path.to_str().context("the directory's name is not UTF-8")?;
    let mut nginx = lab.start("nginx", &nginx, &["-e", "stderr", "-c", path])?;
    let listens = || lab.client.inside(|| Ok(std::net::TcpStream::connect(server).is_ok()));
    nginx.wait_until(SOON, |_| listens())?;
    let scenario = lab.directory().join("scenario.toml");
    let text = "description = \"A bucket, again and again.\"\n[expect]\nrules = false\nheaders = false\n\
         [tiers.quick]\nrequests_per_hour = 100000\nburst_per_minute = 180\n\
         [[population]]\nname = \"all\"\ntier = \"quick\"\nkeys = 3\nconnections = 4\n\
         arrivals = [{ kind = \"constant\", seconds = 2, rate = 500 }]\nrequests = [{ path = \"/x\" }]\n";
    std::fs::write(&scenario, text)?;
    Load::new(&scenario).at(server).verified().with_invented_keys().run(&lab.client)
}

#[test]
fn a_bucket_that_is_too_deep_is_caught() -> Result<()> {
    let report = judged_by_nginx(189)?;
    let found = report.verification()?;
    ensure!(found.wrongly_admitted >= 3 * 9 && !report.held, "{found:#?}");
    let first = found.findings.first().context("a finding")?;
    assert_eq!((first.kind.as_str(), first.limit.as_str()), ("wrongly_admitted", "burst"));
    Ok(())
}

#[test]
fn a_bucket_that_is_too_shallow_is_caught() -> Result<()> {
    let report = judged_by_nginx(169)?;
    let found = report.verification()?;
    ensure!(found.wrongly_refused >= 3 * 9 && !report.held, "{found:#?}");
    assert_eq!(found.wrongly_admitted, 0, "{found:#?}");
    Ok(())
}

/// A second of a flood: what it sent, and what the kernel program found, by the outcome's name.
fn flood(kind: &str) -> Result<(u64, BTreeMap<String, u64>)> {
    #[derive(Deserialize)]
    struct Report {
        sent: u64,
        found: BTreeMap<String, u64>,
    }
    let arguments = ["load", "flood", "--kind", kind, "--seconds", "1", "--json"];
    let said = command::output(Command::new(build::daemon_path(false)).args(arguments))?;
    let Report { sent, found } = serde_json::from_str(&said)?;
    ensure!(sent > 1_000, "{sent} packets in a second");
    Ok((sent, found))
}

#[test]
fn a_flood_is_judged_to_the_last_packet() -> Result<()> {
    let (sent, found) = flood("requests")?;
    assert_eq!(found.get("refused_blocked"), Some(&sent), "{found:?}");
    let (sent, found) = flood("syn")?;
    assert_eq!(found.get("control"), Some(&sent), "{found:?}");
    let (sent, found) = flood("ack")?;
    assert_eq!(found.get("no_payload"), Some(&sent), "{found:?}");
    Ok(())
}
