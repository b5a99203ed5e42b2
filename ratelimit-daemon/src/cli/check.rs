//! `ratelimitd check`: would the daemon take these files?

use super::print;
use crate::config::{Config, Kernel, Mode};
use crate::keys::KeyFile;
use crate::places::Places;
use crate::policy::Policy;
use anyhow::Result;
use std::fmt::Display;
use std::fs;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd check
  ratelimitd check --config /etc/ratelimitd/new.toml && systemctl reload ratelimitd
  ratelimitd check --dump-effective > everything.toml

Prints every problem with its file and line, and exits with 2 if there is one.";

/// Checks the configuration, the key file, and that they fit each other.
pub(super) fn check(path: &Path) -> Result<()> {
    let config = Config::load(path)?;
    let keys = keys(&config)?;
    let (listen, upstreams) = match config.mode {
        Mode::Proxy => (list(&config.proxy.listen), list(&config.proxy.upstreams)),
        Mode::Kernel => ("nothing: the kernel enforces alone".to_owned(), "the host itself".to_owned()),
    };
    print(&format!(
        "{}: ok\n  listens on  {listen}\n  upstream    {upstreams}\n  kernel      {}\n  tiers       {}\n  keys        {keys}\n",
        path.display(),
        kernel(&config.kernel),
        list(config.tiers.keys()),
    ))
}

/// Checks both files as well, and prints the configuration with every setting in it.
pub(super) fn dump_effective(path: &Path) -> Result<()> {
    let config = Config::load(path)?;
    keys(&config)?;
    print(&config.effective()?)
}

/// Checks the key file against the configuration, and sums it up.
fn keys(config: &Config) -> Result<String> {
    let path = config.keys.file.display();
    if !fs::exists(&config.keys.file)? {
        return Ok(format!("none; the first `ratelimitd keys add` or start creates {path}"));
    }
    let file = KeyFile::load(&config.keys.file)?;
    let policy = Policy::first(&config.tiers, &config.rules, &file, Places::new(config.kernel.max_keys))?;
    let disabled = policy.keys().filter(|key| !key.enabled).count();
    let expired = policy.keys().filter(|key| key.enabled && key.has_expired_now()).count();
    Ok(format!("{} ({disabled} disabled, {expired} expired) in {path}", policy.keys().count()))
}

fn kernel(kernel: &Kernel) -> String {
    if kernel.interfaces.is_empty() {
        return "not used".to_owned();
    }
    format!("{}, ports {}", list(&kernel.interfaces), list(&kernel.ports))
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
