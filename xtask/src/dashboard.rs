//! The dashboard's pages: TypeScript, checked and bundled by what its `package-lock.json` names, for the daemon to embed.

use crate::command;
use crate::packages;
use crate::workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The programs that build it, with Debian's packages of them.
const PROGRAMS: [(&str, &str); 2] = [("node", "nodejs"), ("npm", "npm")];

fn source() -> PathBuf {
    workspace::root().join("ratelimit-daemon/dashboard")
}

/// Builds the pages, and puts them where the daemon's build looks for them.
pub fn build() -> Result<()> {
    provide()?;
    run("build")?;
    let target = workspace::root().join("target");
    let page = source().join("src/index.html");
    let bundles = ["app.js", "app.css"].map(|name| target.join("dashboard-build").join(name));
    let out = target.join("dashboard");
    for file in bundles.iter().chain([&page]) {
        let name = file.file_name().context("a file without a name")?;
        workspace::publish(file, &out.join(name))?;
    }
    Ok(())
}

/// Checks the types.
pub(crate) fn check() -> Result<()> {
    provide()?;
    run("check")
}

fn run(script: &str) -> Result<()> {
    command::run(npm().args(["run", "--silent", script]))
        .with_context(|| format!("the dashboard's {script} fails"))
}

/// Installs what the lock file names, where that is not what is there.
pub(crate) fn provide() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| command::find(program).is_none());
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        packages::provide(&missing)?;
    }
    let lock =
        fs::read(source().join("package-lock.json")).context("cannot read the dashboard's lock file")?;
    let installed = source().join("node_modules/.lock-that-was-installed");
    if fs::read(&installed).is_ok_and(|present| present == lock) {
        return Ok(());
    }
    command::run(npm().arg("ci")).context("the dashboard's packages cannot be installed")?;
    fs::write(installed, lock).context("cannot note which packages are installed")
}

fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(source());
    npm
}
