//! `cargo xtask test`: everything that says whether the tree is right, from an empty machine on.

use crate::{build, command, demo, lint, model, setup};
use anyhow::{Result, bail};
use std::time::Instant;

type Step = (&'static str, fn() -> Result<()>);

/// What is left to do once everything is built. A step that fails does not hide what the others have to say.
const STEPS: [Step; 4] =
    [("lint", lint::all), ("tests", tests), ("models", model::check), ("demonstration", demo::run)];

/// Builds, lints, runs every test and then the demonstration.
pub fn all() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the tests load kernel programs and make network namespaces: run this as root");
    }
    let start = Instant::now();
    setup::test_tools()?;
    eprintln!("test: build");
    build::all(false)?;
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        eprintln!("test: {name}");
        if let Err(error) = step() {
            eprintln!("test: {error:#}");
            failed.push(name);
        }
    }
    let seconds = start.elapsed().as_secs();
    if !failed.is_empty() {
        bail!("failed after {seconds} s: {}", failed.join(", "));
    }
    println!("test: all of it passed in {seconds} s");
    Ok(())
}

/// The default members, one build for all: unit and property tests, packets through the kernel program,
/// and the end-to-end tests, which start the daemon that `build` made.
fn tests() -> Result<()> {
    command::run(command::cargo().args(["test", "--no-fail-fast"]))
}
