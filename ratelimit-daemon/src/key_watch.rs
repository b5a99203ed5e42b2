//! Takes changes of the key file over by itself, and of the tiers and the rules when asked to.
#![forbid(unsafe_code)]

use crate::admin::reload::Reloaded;
use crate::config::{Anonymous, Config};
use crate::enforcement::Enforcement;
use crate::keys::KeyFile;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Which version of a file it is, as far as its metadata tells: a file that is replaced has another inode.
type Version = (u64, u64, i64, i64);

/// The files behind the policy in force.
#[derive(Debug)]
pub(crate) struct KeyWatch {
    path: PathBuf,
    config: Config,
    seen: Option<Version>,
}

impl KeyWatch {
    /// Follows the key file that `config`, read from `path`, names. Not yet looked at: whatever it says by now
    /// is taken over first.
    pub(crate) fn new(path: &Path, config: Config) -> Self {
        Self { path: path.to_owned(), config, seen: None }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the key file over if it has changed. Each change is tried, and reported, once.
    pub(crate) fn follow(&mut self, enforcement: &mut Enforcement) -> Result<()> {
        let version = match version(&self.config.keys.file) {
            Err(error) if self.seen.take().is_some() => {
                return Err(error.context("the keys in force stay in force"));
            }
            // Still missing: that was reported.
            Err(_) => return Ok(()),
            Ok(version) => version,
        };
        if self.seen.replace(version) == Some(version) {
            return Ok(());
        }
        let file = KeyFile::load(&self.config.keys.file)?;
        self.put_in_force(self.config.clone(), &file, enforcement)
    }

    /// Reads tiers, rules and keys again. All is taken over or nothing.
    pub(crate) fn reload(&mut self, enforcement: &mut Enforcement) -> Result<Reloaded> {
        let config = Config::load(&self.path)?;
        let (tiers, rules) = (config.tiers.clone(), config.rules.clone());
        let fixed = Config { tiers, rules, ..self.config.clone() };
        if let Some(Anonymous { tier, .. }) = &fixed.anonymous
            && !fixed.tiers.contains_key(tier)
        {
            bail!("tier {tier} is gone, which clients without a key have until a restart; put it back");
        }
        self.seen = Some(version(&fixed.keys.file)?);
        let file = KeyFile::load(&fixed.keys.file)?;
        let before = enforcement.policy().load_full();
        self.put_in_force(fixed, &file, enforcement)?;
        let reloaded = Reloaded::between(&before, &enforcement.policy().load(), &config, &self.config);
        info!("tiers, rules and keys read again");
        if !reloaded.waiting_for_restart.is_empty() {
            let (path, sections) = (self.path.display(), reloaded.waiting_for_restart.join(", "));
            warn!("{path}: {sections}: changed, and in force after a restart");
        }
        Ok(reloaded)
    }

    fn put_in_force(&mut self, config: Config, file: &KeyFile, enforcement: &mut Enforcement) -> Result<()> {
        let before = enforcement.policy().load_full();
        let (tiers, rules) = (&config.tiers, &config.rules);
        enforcement.apply(before.next(tiers, rules, file)?)?;
        self.config = config;
        Ok(())
    }
}

fn version(path: &Path) -> Result<Version> {
    let metadata = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    Ok((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}
