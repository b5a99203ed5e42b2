//! `POST /reload`: what a reload has changed.

use crate::config::Config;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};

/// The answer to `POST /reload`: names, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) keys: Changed,
    pub(crate) tiers: Changed,
    pub(crate) rules: Changed,
    /// Sections of the configuration that differ from what is in force until a restart.
    pub(crate) waiting_for_restart: Vec<String>,
}

/// What is new, other than before, and gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl Reloaded {
    /// From `before` to `after`, which was built from it, while the configuration has become `config`.
    pub(crate) fn between(before: &Policy, after: &Policy, config: &Config, in_force: &Config) -> Self {
        let changes = after.changes(before);
        let name = |key: &crate::policy::Key| key.name.clone();
        let mut keys = Changed {
            added: changes.added.iter().map(|key| name(key)).collect(),
            changed: changes.changed.iter().map(|(_, key)| name(key)).collect(),
            removed: changes.removed.iter().map(|key| name(key)).collect(),
        };
        [&mut keys.added, &mut keys.changed, &mut keys.removed]
            .into_iter()
            .for_each(|names| names.sort_unstable());
        let rules = |policy: &Policy| {
            policy
                .router()
                .rules()
                .rules
                .iter()
                .map(|rule| (rule.name.clone(), rule.clone()))
                .collect::<Vec<_>>()
        };
        let tiers = |policy: &Policy| {
            policy.tiers().iter().map(|(name, limits)| (name.clone(), limits.clone())).collect::<Vec<_>>()
        };
        Self {
            keys,
            tiers: Changed::between(&tiers(before), &tiers(after)),
            rules: Changed::between(&rules(before), &rules(after)),
            waiting_for_restart: config.fixed_differences(in_force).into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Changed {
    fn between<T: PartialEq>(before: &[(String, T)], after: &[(String, T)]) -> Self {
        let find = |among: &[(String, T)], name: &str| among.iter().position(|(other, _)| other == name);
        let mut changed = Self::default();
        for (name, value) in after {
            match find(before, name).and_then(|index| before.get(index)) {
                None => changed.added.push(name.clone()),
                Some((_, other)) if other != value => changed.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|(name, _)| find(after, name).is_none());
        changed.removed = gone.map(|(name, _)| name.clone()).collect();
        changed
    }
}
