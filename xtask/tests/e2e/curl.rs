//! What people use: curl.

use crate::{deploy, tier};
use anyhow::{Context, Result};
use xtask::deployment::{Deployment, PORT};

/// Runs curl on the client; returns the lines that it writes after each transfer, and its exit code.
fn curl(deployment: &Deployment, arguments: &[&str]) -> Result<(Vec<String>, Option<i32>)> {
    let mut command = deployment.lab.client.command("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_code} %{num_connects}\n"]).args(arguments);
    let done = command.output().context("cannot start curl")?;
    let lines = String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect();
    Ok((lines, done.status.code()))
}

#[test]
fn curls_requests_on_one_connection_are_all_served() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "enterprise")])?;
    let field = format!("Authorization: Bearer {}", deployment.key("key")?);
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let url = format!("http://{server}/courses/[1-40]");
        let (lines, code) = curl(&deployment, &["--header", &field, &url])?;
        let mut expected = vec!["200 0"; 40];
        expected[0] = "200 1";
        assert_eq!((lines, code), (expected.into_iter().map(str::to_owned).collect(), Some(0)));
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&80));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&80), "{counted:?}");
    Ok(())
}

/// curl waits for `100 Continue` before it sends a body: head and body are far apart.
#[test]
fn a_body_that_waits_to_be_asked_for_is_served_and_charged_once() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "enterprise")])?;
    let students = vec![r#"{"name":"Grace","email":"grace@school.example"}"#; 100].join(",");
    let file = deployment.lab.directory().join("students.json");
    std::fs::write(&file, format!("[{students}]"))?;
    let (key, data) = (format!("X-API-Key: {}", deployment.key("key")?), format!("@{}", file.display()));
    let url = format!("http://{}/students/bulk", deployment.lab.host_v6(PORT));
    let json = ["--header", "Content-Type: application/json", "--header", "Expect: 100-continue"];
    let arguments = [&["--header", &key, "--data-binary", &data][..], &json, &[&url]].concat();
    let (lines, code) = curl(&deployment, &arguments)?;
    assert_eq!((lines, code), (vec!["201 1".to_owned()], Some(0)));
    assert_eq!(deployment.seen()?.get("key"), Some(&1));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&1), "{counted:?}");
    Ok(())
}

#[test]
fn curl_sees_the_reset() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 1_000, 30), &[("key", "small")])?;
    let field = format!("X-API-Key: {}", deployment.key("key")?);
    let url = format!("http://{}/courses/7", deployment.lab.host_v4(PORT));
    let (mut admitted, mut reset) = (0, 0);
    while reset < 3 {
        let (lines, code) = curl(&deployment, &["--header", &field, &url])?;
        match (lines.first().map(String::as_str), code) {
            (Some("200 1"), Some(0)) => admitted += 1,
            // It connected, and could not receive.
            (Some("000 1"), Some(56)) => reset += 1,
            other => panic!("{other:?} after {admitted} admitted and {reset} reset"),
        }
        assert!(admitted < 200, "never refused");
    }
    assert!(admitted >= 30, "{admitted} admitted");
    assert_eq!(deployment.seen()?.get("key"), Some(&admitted));
    Ok(())
}
