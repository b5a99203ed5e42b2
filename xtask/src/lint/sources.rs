//! Rules about source files: their length, who may be unsafe, who may know aya.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

const CRATES: [&str; 4] = ["ratelimit-common", "ratelimit-ebpf", "ratelimit-daemon", "xtask"];

/// Where memory shared with the kernel is touched, and a socket option that no crate offers: nothing else has a
/// reason to be unsafe.
const UNSAFE: [&str; 6] = [
    "ratelimit-common/src/word.rs",
    "ratelimit-ebpf/src/",
    "ratelimit-daemon/src/deferred_accept.rs",
    "ratelimit-daemon/src/kernel",
    "ratelimit-daemon/src/shared_memory.rs",
    "ratelimit-daemon/tests/",
];

/// The only part of the daemon that knows which library loads the kernel program.
const AYA: [&str; 1] = ["ratelimit-daemon/src/kernel"];

/// What judges the limiter, and so must not know it: two that share a mistake would agree.
const REFEREE: &str = "ratelimit-daemon/src/load/";

/// The limiter's own code.
const LIMITER: [&str; 4] = ["ratelimit_common", "limiter", "policy", "enforcement"];

struct Source {
    /// From the workspace's root, with forward slashes.
    path: String,
    text: String,
}

pub(super) fn check() -> Result<()> {
    let root = workspace::root();
    let mut sources = Vec::new();
    for name in CRATES {
        collect(&root, &root.join(name), &mut sources)?;
    }
    let faults: Vec<_> = sources.iter().flat_map(faults).collect();
    if !faults.is_empty() {
        bail!("source files break the rules:\n{}", faults.join("\n"));
    }
    Ok(())
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for path in entries(directory)? {
        if path.is_dir() {
            collect(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    listed.with_context(|| format!("cannot list {}", directory.display()))
}

fn faults(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let within = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));
    let mut faults = Vec::new();
    if lines > MAX_LINES {
        faults.push(format!("  {}: {lines} lines, more than {MAX_LINES}: split it", source.path));
    }
    if !within(&UNSAFE) && code(&source.text).any(|line| has_word(line, "unsafe")) {
        faults.push(format!("  {}: unsafe has no reason to be here", source.path));
    }
    let daemon = source.path.starts_with("ratelimit-daemon/src/");
    if daemon && !within(&AYA) && code(&source.text).any(|line| has_word(line, "aya")) {
        faults.push(format!("  {}: only the kernel module knows aya", source.path));
    }
    let knows = |word: &&&str| code(&source.text).any(|line| has_word(line, word));
    if source.path.starts_with(REFEREE)
        && let Some(word) = LIMITER.iter().find(knows)
    {
        faults.push(format!("  {}: a referee has no use for {word}", source.path));
    }
    faults
}

/// The text without comments and string literals, in pieces: as far as can be told from single lines.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let uncommented = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    uncommented.flat_map(|line| line.split('"').step_by(2))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(path: &str, text: &str) -> usize {
        faults(&Source { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn the_unsafe_word_has_its_places() {
        assert_eq!(faults_in("ratelimit-daemon/src/limiter.rs", "unsafe { read() }"), 1);
        assert_eq!(faults_in("ratelimit-daemon/src/kernel/maps.rs", "unsafe { read() }"), 0);
        assert_eq!(faults_in("xtask/src/lib.rs", "#![forbid(unsafe_code)] // unsafe"), 0);
    }

    #[test]
    fn aya_stays_behind_the_kernel_module() {
        assert_eq!(faults_in("ratelimit-daemon/src/run.rs", "use aya::Ebpf;"), 1);
        assert_eq!(faults_in("ratelimit-daemon/src/kernel.rs", "use aya::Ebpf;"), 0);
        assert_eq!(faults_in("ratelimit-daemon/tests/packets.rs", "use aya::Ebpf;"), 0);
        assert_eq!(faults_in("ratelimit-ebpf/src/main.rs", "use aya_ebpf::macros::xdp;"), 0);
    }

    #[test]
    fn the_referee_does_not_know_the_limiter() {
        let text = "use ratelimit_common::window::Window;";
        assert_eq!(faults_in("ratelimit-daemon/src/load/verify/window.rs", text), 1);
        assert_eq!(faults_in("ratelimit-daemon/src/load/verify/window.rs", "// as the limiter has it"), 0);
        assert_eq!(faults_in("ratelimit-daemon/src/limiter.rs", text), 0);
    }

    #[test]
    fn files_stay_short() {
        assert_eq!(faults_in("xtask/src/lab.rs", &"\n".repeat(400)), 0);
        assert_eq!(faults_in("xtask/src/lab.rs", &"\n".repeat(401)), 1);
    }
}
