//! `cargo xtask model`: every interleaving of the enforcers on one key, by a model checker.

use crate::command;
use crate::workspace;
use anyhow::Result;

/// Checks the models. The checker's build is another one than all others: it has a directory of its own.
pub fn check() -> Result<()> {
    let mut cargo = command::cargo();
    cargo.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", workspace::root().join("target/model"));
    command::run(cargo.args(["test", "--package", "ratelimit-common", "--test", "model", "--release"]))
}
