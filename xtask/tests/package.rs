//! The Debian package, on a copy of this machine.

use anyhow::Result;
use std::process::Command;
use xtask::{command, package, workspace};

/// See the script for what it expects.
#[test]
fn it_installs_upgrades_with_its_state_and_leaves_nothing() -> Result<()> {
    let copy = tempfile::tempdir()?;
    let script = workspace::root().join("xtask/tests/package.sh");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh"]).arg(script).arg(package::make()?).arg(copy.path());
    command::run(&mut unshare)
}
