//! `cargo xtask setup`: finds what is there, installs what is missing, says which is which.

use crate::command;
use crate::dashboard;
use crate::linker;
use crate::packages;
use crate::toolchain::{DEBIAN_PACKAGES, Toolchain};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Programs that tests and the demonstration use, with Debian's packages of them.
const TEST_PROGRAMS: [(&str, &str); 11] = [
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("wrk", "wrk"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("systemd-analyze", "systemd"),
    ("adduser", "adduser"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("prometheus", "prometheus"),
];

/// Components of the host's toolchain that `cargo xtask lint` uses.
const LINT_PROGRAMS: [(&str, &str); 2] = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")];

/// What builds the kernel program.
#[derive(Debug)]
pub struct Tools {
    /// The compiler.
    pub toolchain: Toolchain,
    /// The linker.
    pub linker: PathBuf,
}

/// Everything, for people: prints what it finds.
pub fn all() -> Result<()> {
    let tools = build_tools()?;
    println!("compiler   {} ({})", tools.toolchain.name, tools.toolchain.rustc.display());
    println!("linker     {}", tools.linker.display());
    dashboard::provide()?;
    test_tools()?;
    for (program, _) in TEST_PROGRAMS {
        println!("{program:<10} {}", located(program)?.display());
    }
    for (program, component) in LINT_PROGRAMS {
        println!("{component:<10} {}", located(program)?.display());
    }
    Ok(())
}

/// What `build` needs. Silent where all of it is there.
pub fn build_tools() -> Result<Tools> {
    let toolchain = match Toolchain::find() {
        Some(found) => found,
        None => install_toolchain()?,
    };
    let linker = linker::provide(&toolchain)?;
    Ok(Tools { toolchain, linker })
}

/// What tests and the demonstration need besides. Silent where all of it is there.
pub fn test_tools() -> Result<()> {
    let absent = TEST_PROGRAMS.iter().filter(|(program, _)| command::find(program).is_none());
    let absent: Vec<_> = absent.map(|(_, package)| *package).collect();
    if !absent.is_empty() {
        packages::provide(&absent)?;
    }
    lint_tools()
}

/// The formatter and the linter belong to the toolchain that runs this program, so they are not installed
/// behind its owner's back.
pub fn lint_tools() -> Result<()> {
    for (program, component) in LINT_PROGRAMS {
        if command::find(program).is_none() {
            bail!("{component} is missing: run `rustup component add {component}`");
        }
    }
    Ok(())
}

fn install_toolchain() -> Result<Toolchain> {
    let advice = "no compiler can build for BPF: install rustup's nightly with its sources \
        (`rustup toolchain install nightly --component rust-src`), or run `cargo xtask setup` as root on Debian";
    packages::provide(&DEBIAN_PACKAGES).context(advice)?;
    Toolchain::find().context(advice)
}

fn located(program: &str) -> Result<PathBuf> {
    command::find(program).with_context(|| format!("{program} is not on the search path"))
}
