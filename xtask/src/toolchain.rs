//! Finding a compiler that can build for `bpfel-unknown-none`.
//!
//! The target has no prebuilt `core`, so the compiler needs the library's sources and unstable features. A
//! rustup nightly with `rust-src` has both. Debian's own packages do as well, with `RUSTC_BOOTSTRAP`.

use crate::command;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages of a compiler that is recent enough, with the sources of `core`.
pub const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler that can build the kernel program.
#[derive(Debug)]
pub struct Toolchain {
    /// For people.
    pub name: &'static str,
    /// Its cargo.
    pub cargo: PathBuf,
    /// Its compiler.
    pub rustc: PathBuf,
    /// The major version of its LLVM, which the linker has to match.
    pub llvm: u32,
    /// A stable compiler, to be told that unstable features are wanted.
    pub stable: bool,
}

impl Toolchain {
    /// The first complete toolchain: rustup's nightly, then Debian's.
    pub fn find() -> Option<Self> {
        Self::nightly().or_else(Self::debian)
    }

    fn nightly() -> Option<Self> {
        let rustup = command::find("rustup")?;
        let mut query = Command::new(rustup);
        // Only look: where nightly is absent, it must not be fetched by asking for it.
        query.args(["run", "nightly", "rustc", "--print", "sysroot"]).env("RUSTUP_AUTO_INSTALL", "0");
        let sysroot = command::output(&mut query).ok()?;
        Self::at(Path::new(sysroot.trim()), "rustup nightly", false)
    }

    fn debian() -> Option<Self> {
        Self::at(Path::new("/usr"), "Debian rustc", true)
    }

    /// The toolchain under `sysroot`, if it has a cargo, a compiler and the sources of `core`.
    fn at(sysroot: &Path, name: &'static str, stable: bool) -> Option<Self> {
        let (cargo, rustc) = (sysroot.join("bin/cargo"), sysroot.join("bin/rustc"));
        let core = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !(cargo.is_file() && rustc.is_file() && core.is_file()) {
            return None;
        }
        let llvm = llvm_major(&rustc).ok()?;
        Some(Self { name, cargo, rustc, llvm, stable })
    }

    /// This toolchain's cargo, ready for unstable options.
    pub fn cargo(&self) -> Command {
        let mut command = command::foreign_cargo(&self.cargo);
        command.env("RUSTC", &self.rustc);
        if self.stable {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

fn llvm_major(rustc: &Path) -> Result<u32> {
    let mut query = Command::new(rustc);
    query.arg("-vV").env_remove("LD_LIBRARY_PATH");
    let version = command::output(&mut query)?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|llvm| llvm.split('.').next()).and_then(|major| major.parse().ok());
    major.with_context(|| format!("{} -vV names no LLVM version", rustc.display()))
}
