//! Running other programs: what failed, with which arguments, is in every error.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Variables that cargo and rustup set for the program they run. A cargo started from there must not see
/// them: they name the outer toolchain, package and libraries.
const OUTER: [&str; 8] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_PRIMARY_",
    "CARGO_CRATE_",
    "LD_LIBRARY_PATH",
    "RUST_RECURSION_COUNT",
    "__CARGO",
];

/// What moreover ties a build to the outer toolchain or to the caller's flags.
const TOOLCHAIN: [&str; 6] =
    ["CARGO_ENCODED_", "CARGO_BUILD_", "CARGO_TARGET_", "RUSTC", "RUSTDOC", "RUSTFLAGS"];

/// The cargo that runs this program, for builds of the host's crates.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget(&mut command, &OUTER);
    command.current_dir(crate::workspace::root());
    command
}

/// A cargo of another toolchain, free of everything that the outer one has set.
pub fn foreign_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    forget(&mut command, &OUTER);
    forget(&mut command, &TOOLCHAIN);
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command.current_dir(crate::workspace::root());
    command
}

fn forget(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let matches = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if prefixes.iter().any(matches) {
            command.env_remove(&name);
        }
    }
}

/// Runs to the end with the caller's terminal; an error unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs to the end and returns standard output; standard error is part of the error where it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`{shown}` failed: {}\n{}", done.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The first file of this name on the search path; the system directories, which a user's path may lack,
/// come last.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The line that one would type.
pub fn describe(command: &Command) -> String {
    let mut shown = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        // Writing to a string cannot fail.
        let _ = write!(shown, " {}", argument.to_string_lossy());
    }
    shown
}
