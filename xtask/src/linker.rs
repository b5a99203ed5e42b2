//! `bpf-linker`, which turns LLVM bitcode into a BPF object: found, or built once and cached.

use crate::command;
use crate::packages;
use crate::toolchain::Toolchain;
use crate::workspace;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that is built where none is cached.
const VERSION: &str = "0.13.0";

/// The linker for this toolchain; built, and the libraries for that installed, if there is none yet.
///
/// One that a user of rustup has installed comes with the newest LLVM, which reads what any nightly writes.
/// For a distribution's compiler the linker's LLVM has to be the same, which an installed one does not tell.
pub fn provide(toolchain: &Toolchain) -> Result<PathBuf> {
    let installed = command::find("bpf-linker").filter(|_| !toolchain.stable);
    if let Some(program) = installed.filter(|program| works(program)) {
        return Ok(program);
    }
    let root = workspace::cache().join(format!("bpf-linker-{VERSION}-llvm-{}", toolchain.llvm));
    let program = root.join("bin/bpf-linker");
    if !works(&program) {
        build(toolchain, &root)?;
    }
    Ok(program)
}

/// An upgrade of the system can take away the LLVM library that a cached linker was linked with.
fn works(program: &Path) -> bool {
    program.is_file() && command::output(Command::new(program).arg("--version")).is_ok()
}

fn build(toolchain: &Toolchain, root: &Path) -> Result<()> {
    let llvm = toolchain.llvm;
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let libraries = [
        format!("llvm-{llvm}-dev"),
        format!("libpolly-{llvm}-dev"),
        "zlib1g-dev".into(),
        "libzstd-dev".into(),
    ];
    packages::provide(&libraries).context("bpf-linker is built against LLVM's development files")?;
    eprintln!("setup: building bpf-linker {VERSION} for LLVM {llvm} (a minute or two, once)");
    let mut install = toolchain.cargo();
    install.args(["install", "bpf-linker", "--locked", "--force", "--version", VERSION]);
    install.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
    // Its build need not be seen again: a directory that the finished install no longer needs.
    install.arg("--root").arg(root).arg("--target-dir").arg(root.join("build"));
    install.env("LLVM_PREFIX", &prefix).env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix);
    command::run(&mut install)?;
    std::fs::remove_dir_all(root.join("build")).context("cannot remove bpf-linker's build directory")
}
