//! `cargo xtask lint`: what the compiler does not check by itself.

mod dependencies;
mod sources;

use crate::command;
use crate::dashboard;
use crate::setup;
use anyhow::{Result, bail};

type Check = (&'static str, fn() -> Result<()>);

/// Runs every check, also after one has failed, so that one run tells everything there is to repair.
pub fn all() -> Result<()> {
    setup::lint_tools()?;
    let checks: [Check; 6] = [
        ("formatting", formatting),
        ("sources", sources::check),
        ("dependencies", dependencies::check),
        ("dashboard", dashboard::check),
        ("clippy", clippy),
        ("clippy, kernel program", clippy_kernel),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        eprintln!("lint: {name}");
        if let Err(error) = check() {
            eprintln!("lint: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

fn formatting() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    command::run(command::cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]))
}

/// The kernel program as if it were for the host, whose toolchain has clippy. In the release profile: that
/// has no unwinding, which a program with a panic handler of its own cannot have.
fn clippy_kernel() -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["clippy", "--package", "ratelimit-ebpf", "--release", "--", "--deny", "warnings"]);
    command::run(&mut cargo)
}
