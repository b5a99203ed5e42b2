//! Installing what is missing from Debian's archive, and nothing else.

use crate::command;
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Makes sure that these packages are installed.
pub fn provide<Name: AsRef<str>>(names: &[Name]) -> Result<()> {
    let absent = absent(names)?;
    if absent.is_empty() {
        return Ok(());
    }
    let list = absent.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("missing packages: {list}\nrun `cargo xtask setup` as root, or `apt-get install {list}`");
    }
    eprintln!("setup: installing {list}");
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(absent.iter().copied());
    apt(&install)
}

fn absent<Name: AsRef<str>>(names: &[Name]) -> Result<Vec<&str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]);
    query.args(names.iter().map(AsRef::as_ref));
    // It fails where a package is unknown, and lists the others all the same.
    let listed = query.stderr(Stdio::null()).output().with_context(|| {
        let wanted: Vec<_> = names.iter().map(AsRef::as_ref).collect();
        format!("this is no Debian system (no dpkg-query): install what answers to {}", wanted.join(" "))
    })?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let installed = |name: &str| listed.lines().any(|line| line == format!("{name} installed"));
    Ok(names.iter().map(AsRef::as_ref).filter(|name| !installed(name)).collect())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // A fresh machine may still be busy with its own updates: wait for the lock.
    command.args(["--quiet=2", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command::run(&mut command)
}
