//! `cargo xtask build`: the kernel program and the dashboard's pages first, then the daemon that embeds them.

use crate::command;
use crate::dashboard;
use crate::setup::{self, Tools};
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The kernel's target triple on little-endian machines.
const TARGET: &str = "bpfel-unknown-none";

/// The objects that the eBPF crate makes: the judge, and a program that passes everything, which the far end
/// of a veth pair needs in tests.
pub const OBJECTS: [&str; 2] = ["ratelimit", "pass"];

/// The instructions that the program may use: v3 has compare-exchange, on every kernel since 5.12.
const CPU: &str = "v3";

/// Builds everything. `debug` is the daemon's profile; the kernel program is always optimised, as the
/// verifier would refuse it otherwise.
pub fn all(debug: bool) -> Result<()> {
    kernel()?;
    dashboard::build()?;
    daemon(debug)
}

/// Builds the kernel objects and puts them where the daemon's build looks for them.
pub fn kernel() -> Result<()> {
    let tools = setup::build_tools()?;
    let mut cargo = cargo(&tools, "build")?;
    cargo.arg("--release");
    command::run(&mut cargo).context("the kernel program does not build")?;
    OBJECTS.iter().try_for_each(|name| publish(name))
}

/// The daemon's executable.
pub fn daemon_path(debug: bool) -> PathBuf {
    workspace::target().join(if debug { "debug" } else { "release" }).join("ratelimitd")
}

fn daemon(debug: bool) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "ratelimit-daemon"]);
    if !debug {
        cargo.arg("--release");
    }
    command::run(&mut cargo).context("the daemon does not build")
}

/// A cargo subcommand on the eBPF crate, for the kernel's target.
pub fn cargo(tools: &Tools, subcommand: &str) -> Result<Command> {
    let linker = tools.linker.to_str().context("the path of bpf-linker is not UTF-8")?;
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", host_architecture()?),
        "-Cdebuginfo=2".into(),
        format!("-Ctarget-cpu={CPU}"),
        format!("-Clinker={linker}"),
        "-Clink-arg=--btf".into(),
        // Packets are read eight bytes at a time wherever they lie; without this each read would be eight.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into(),
    ];
    let mut cargo = tools.toolchain.cargo();
    // Encoded, because an argument may hold spaces: the separator is ASCII's unit separator.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo.args([subcommand, "--package", "ratelimit-ebpf", "-Z", "build-std=core", "--target", TARGET]);
    cargo.arg("--target-dir").arg(workspace::kernel_target());
    Ok(cargo)
}

/// The host's architecture by the name that aya knows: it selects the layout of registers in kernel types.
fn host_architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x86_64"),
        "aarch64" => Ok("aarch64"),
        "riscv64" => Ok("riscv64"),
        other => {
            bail!("the kernel program has not been built on {other}: x86_64, aarch64 or riscv64 is needed")
        }
    }
}

/// Puts an object where the daemon's build looks for it.
fn publish(name: &str) -> Result<()> {
    let built = workspace::kernel_target().join(TARGET).join("release").join(name);
    workspace::publish(&built, &workspace::kernel_object(name))
}
