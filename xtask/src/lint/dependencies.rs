//! Dependencies between the workspace's crates point one way.

use crate::command;
use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Each crate with the crates of the workspace that it may depend on.
const ALLOWED: [(&str, &[&str]); 4] = [
    ("ratelimit-common", &[]),
    ("ratelimit-ebpf", &["ratelimit-common"]),
    ("ratelimit-daemon", &["ratelimit-common"]),
    ("xtask", &[]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

pub(super) fn check() -> Result<()> {
    let shown = command::output(command::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&shown).context("cargo metadata is not as expected")?;
    let faults = faults(&metadata.packages);
    if !faults.is_empty() {
        bail!("dependencies point the wrong way:\n{}", faults.join("\n"));
    }
    Ok(())
}

fn faults(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| faults_of(package, packages)).collect()
}

fn faults_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("  {}: unknown here; say in xtask what it may depend on", package.name)];
    };
    let inside = |name: &str| packages.iter().any(|other| other.name == name);
    let wrong = |name: &&str| inside(name) && !allowed.contains(name);
    let names = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    names.filter(wrong).map(|name| format!("  {} -> {name}", package.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| Dependency { name: (*name).into() }).collect();
        Package { name: name.into(), dependencies }
    }

    #[test]
    fn one_way_is_fine_and_the_other_is_not() {
        let good = [
            package("ratelimit-common", &["proptest"]),
            package("ratelimit-daemon", &["ratelimit-common", "hyper"]),
            package("xtask", &["clap"]),
        ];
        assert!(faults(&good).is_empty());
        let bad = [
            package("ratelimit-common", &["ratelimit-daemon"]),
            package("ratelimit-daemon", &["xtask"]),
            package("xtask", &["ratelimit-common"]),
            package("stranger", &[]),
        ];
        assert_eq!(faults(&bad).len(), 4);
    }
}
