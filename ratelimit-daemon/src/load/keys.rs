//! Where the plain text of keys comes from: requests need it, and ratelimitd keeps only hashes.

use super::scenario::{Scenario, Tier};
use crate::config::Config;
use crate::document::{Problem, Problems};
use crate::keys::{self, Entry, PlainKey};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tier of made keys whose own tier the configuration does not know: their limits are their own anyway.
const SOME_TIER: &str = "professional";

/// What the names of keys that were made for a scenario start with.
const NAME: &str = "load-";

/// Who has the keys.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// One key, for everything.
    One(String),
    /// A file with a tier and a key on each line.
    File(PathBuf),
    /// Nobody yet: they are added to the key file of this configuration, and removed in the end.
    Make(PathBuf),
    /// Nobody: any text will do, because the server does not check.
    Invent,
}

/// The keys of a run, population by population.
#[derive(Debug)]
pub(crate) struct Keys {
    named: Vec<(String, String)>,
    // Held for its end.
    made: Option<Made>,
}

/// Keys in a key file that are removed when this is dropped.
#[derive(Debug)]
struct Made {
    file: PathBuf,
    prefix: String,
    probe: String,
}

impl Keys {
    /// As many as the scenario wants.
    pub(crate) fn provide(source: &Source, scenario: &Scenario) -> Result<Self> {
        match source {
            Source::One(key) => {
                let named = names(scenario).map(|(name, _)| (name, key.clone())).collect();
                Ok(Self { named, made: None })
            }
            Source::File(path) => Ok(Self { named: from_file(path, scenario)?, made: None }),
            Source::Invent => {
                let draw = |(name, _)| Ok((name, PlainKey::generate()?.reveal().to_owned()));
                Ok(Self { named: names(scenario).map(draw).collect::<Result<_>>()?, made: None })
            }
            Source::Make(config) => make(config, scenario),
        }
    }

    /// The key itself.
    pub(crate) fn text(&self, key: usize) -> Option<&str> {
        self.named.get(key).map(|(_, text)| text.as_str())
    }

    /// What a report calls it: its population and its number.
    pub(crate) fn name(&self, key: usize) -> &str {
        self.named.get(key).map_or("?", |(name, _)| name)
    }

    /// A key that was made with the others and that no population has: a server that knows it knows all of them.
    pub(crate) fn probe(&self) -> Option<&str> {
        self.made.as_ref().map(|made| made.probe.as_str())
    }
}

/// The name of each key with its tier.
fn names(scenario: &Scenario) -> impl Iterator<Item = (String, Option<&Tier>)> {
    scenario.populations.iter().flat_map(|population| {
        let tier = scenario.tier_of(population);
        (1..=population.keys).map(move |number| (format!("{}-{number}", population.name), tier))
    })
}

/// Each population takes the next keys of its tier.
fn from_file(path: &Path, scenario: &Scenario) -> Result<Vec<(String, String)>, Problems> {
    let wrong = |line, text: String| Problems::from(Problem::in_file(path, line, text));
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(None, format!("cannot read this file: {error}")))?;
    let mut by_tier: HashMap<&str, Vec<&str>> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once(char::is_whitespace).map(|(tier, key)| (tier, key.trim()));
        let (tier, key) = pair.ok_or_else(|| {
            wrong(
                Some(number + 1),
                "expected a tier, a blank and a key, such as `professional rl_…`".to_owned(),
            )
        })?;
        PlainKey::import(key).map_err(|text| wrong(Some(number + 1), text))?;
        by_tier.entry(tier).or_default().push(key);
    }
    by_tier.values_mut().for_each(|keys| keys.reverse());
    let mut take = |(name, tier): (String, Option<&Tier>)| {
        let tier = tier.map_or("", |tier| tier.name.as_str());
        let key = by_tier.get_mut(tier).and_then(Vec::pop);
        let key =
            key.ok_or_else(|| wrong(None, format!("too few keys of tier {tier}: none is left for {name}")))?;
        Ok((name, key.to_owned()))
    };
    names(scenario).map(&mut take).collect()
}

/// Makes keys that are removed with the value.
fn make(config: &Path, scenario: &Scenario) -> Result<Keys> {
    let prefix = format!("{NAME}{}-", std::process::id());
    let probe = PlainKey::generate()?;
    let made = Made { file: Config::load(config)?.keys.file, prefix, probe: probe.reveal().to_owned() };
    let keys = add(config, scenario, &made.prefix)?;
    keys::update(&made.file, |file| {
        file.add(&probe, &format!("{}probe", made.prefix), SOME_TIER, None, None)
    })?;
    let named = names(scenario).zip(keys).map(|((name, _), key)| (name, key)).collect();
    Ok(Keys { named, made: Some(made) })
}

/// Adds keys for a scenario to the key file of a configuration, to stay there; returns each with its tier.
pub(crate) fn lay_in(config: &Path, scenario: &Scenario) -> Result<Vec<(String, String)>> {
    let keys = add(config, scenario, &format!("{NAME}{}-", std::process::id()))?;
    let tiers = names(scenario).map(|(_, tier)| tier.map_or_else(String::new, |tier| tier.name.clone()));
    Ok(tiers.zip(keys).collect())
}

/// Removes every key that was added for a scenario; returns how many there were.
pub(crate) fn remove(config: &Path) -> Result<usize> {
    keys::update(&Config::load(config)?.keys.file, |file| {
        let before = file.entries().len();
        file.retain(|entry| !entry.name.starts_with(NAME));
        Ok(before - file.entries().len())
    })
}

/// Adds keys with the scenario's limits as their own, whatever the tiers of the configuration are; returns them in order.
fn add(config: &Path, scenario: &Scenario, prefix: &str) -> Result<Vec<String>> {
    let config = Config::load(config)?;
    keys::update(&config.keys.file, |file| {
        let (mut keys, mut entries) = (Vec::new(), Vec::new());
        for (_, tier) in names(scenario) {
            let key = PlainKey::generate()?;
            let known = tier.filter(|tier| config.tiers.contains_key(&tier.name));
            entries.push(Entry {
                name: format!("{prefix}{}", keys.len()),
                tier: known.map_or(SOME_TIER, |tier| tier.name.as_str()).to_owned(),
                sha256: key.sha256(),
                siphash: key.siphash(file.secret()),
                requests_per_hour: tier.map(|tier| tier.requests_per_hour),
                burst_per_minute: tier.map(|tier| tier.burst_per_minute),
                ..Entry::default()
            });
            keys.push(key.reveal().to_owned());
        }
        file.add_all(entries)?;
        Ok(keys)
    })
    .context("cannot make keys")
}

impl Drop for Made {
    fn drop(&mut self) {
        let removed = keys::update(&self.file, |file| {
            file.retain(|entry| !entry.name.starts_with(&self.prefix));
            Ok(())
        });
        if let Err(error) = removed {
            eprintln!("load: keys {}… are left in the key file: {error:#}", self.prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        std::fs::write(&path, text).expect("a file");
        let scenario = Scenario::find("initial-sync").expect("a scenario");
        let source = Source::File(path);
        match Keys::provide(&source, &scenario) {
            Ok(keys) => format!("{} {}", keys.name(0), keys.text(0).unwrap_or_default()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn keys_are_taken_by_tier_in_the_order_of_the_file() {
        let line = |tier: &str, number| format!("{tier} key-{tier}-{number}\n");
        let lines = |tier: &str| (1..=8).map(|number| line(tier, number)).collect::<String>();
        let all = format!("# ours\n\n{}{}", lines("enterprise"), lines("professional"));
        assert_eq!(told(&all), "in-a-hurry-1 key-professional-1");
        let few = lines("professional");
        assert!(told(&few).ends_with("too few keys of tier enterprise: none is left for well-advised-1"));
    }

    #[test]
    fn a_wrong_line_is_told() {
        assert!(
            told("professional\n")
                .ends_with(":1: expected a tier, a blank and a key, such as `professional rl_…`")
        );
        assert!(told("\nprofessional a b\n").contains(":2: not a key"));
    }
}
