//! What packages hold of the command line: completions for shells, and pages for `man`.

use super::{Cli, print};
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Prints what teaches `shell` the command line.
pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ratelimitd", &mut script);
    print(&String::from_utf8(script)?)
}

/// Writes a page for each command into `directory`.
pub(super) fn man(directory: &Path) -> Result<()> {
    let pages = clap_mangen::generate_to(Cli::command(), directory);
    pages.with_context(|| format!("cannot write pages into {}", directory.display()))
}
