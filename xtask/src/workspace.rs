//! Where things are in the source tree.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's root directory.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Where cargo puts what it builds for the host: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => root().join("target"),
    }
}

/// Where the kernel program is built. A directory of its own, so that its build neither waits for the host
/// build's lock nor throws that build's results away with its flags.
pub fn kernel_target() -> PathBuf {
    root().join("target/ebpf-build")
}

/// A finished kernel object, at the fixed place from which the daemon embeds it.
pub fn kernel_object(name: &str) -> PathBuf {
    root().join("target/ebpf").join(name)
}

/// The cache for tools that outlive `cargo clean`.
pub fn cache() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(|| root().join("target")).join("ratelimitd")
}

/// Copies what a build has made to `place`, unless it is there already: a new time stamp would have the daemon built again.
pub(crate) fn publish(built: &Path, place: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(place).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(directory) = place.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(place, bytes).with_context(|| format!("cannot write {}", place.display()))
}
