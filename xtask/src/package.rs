//! `cargo xtask package`: the Debian package, with everything that it holds.

use crate::{build, command, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What makes the package. Its version is part of where it is kept.
const CARGO_DEB: &str = "3.8.0";

/// Files with these names are completions for the shells.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Builds everything and makes the package.
pub fn all() -> Result<()> {
    build::all(false)?;
    println!("{}", make()?.display());
    Ok(())
}

/// Makes the package of what was built; returns where it is.
pub fn make() -> Result<PathBuf> {
    let directory = workspace::root().join("target/package");
    let pages = directory.join("man");
    fs::create_dir_all(&pages).with_context(|| format!("cannot create {}", pages.display()))?;
    let daemon = || Command::new(build::daemon_path(false));
    command::run(daemon().arg("man").arg(&pages))?;
    for shell in SHELLS {
        let script = command::output(daemon().args(["completions", shell]))?;
        fs::write(directory.join(format!("ratelimitd.{shell}")), script)?;
    }
    let mut deb = Command::new(cargo_deb()?);
    deb.args(["--package", "ratelimit-daemon", "--no-build", "--output"]).arg(&directory);
    let made = command::output(deb.current_dir(workspace::root()))?;
    let made = PathBuf::from(made.lines().last().unwrap_or_default());
    if !made.is_file() {
        bail!("cargo-deb does not say where the package is: {}", made.display());
    }
    Ok(made)
}

/// Its executable, installed in the cache if it is not there.
fn cargo_deb() -> Result<PathBuf> {
    let root = workspace::cache().join(format!("cargo-deb-{CARGO_DEB}"));
    let program = root.join("bin/cargo-deb");
    if !program.is_file() {
        eprintln!("setup: installing cargo-deb {CARGO_DEB}");
        let mut install = command::cargo();
        install.args(["install", "cargo-deb", "--locked", "--version", CARGO_DEB, "--root"]).arg(&root);
        command::run(&mut install).context("cannot install cargo-deb")?;
    }
    Ok(program)
}
