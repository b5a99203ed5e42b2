//! One policy in force everywhere: in the proxy, in the slots and in the kernel's table.
#![forbid(unsafe_code)]

use crate::clock;
use crate::config::{self, Config};
use crate::flows::Flows;
use crate::kernel::{Attached, Kernel, KernelSettings, Mode, Pins};
use crate::limiter::Limiter;
use crate::policy::{Key, Policy};
use crate::slots::Slots;
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use ratelimit_common::layout;
use ratelimit_common::outcome::Outcome;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::{info, warn};

/// The enforcers and the policy that they follow.
#[derive(Debug)]
pub struct Enforcement {
    kernel: Option<Kernel>,
    attached: Vec<Attached>,
    limiter: Limiter,
    flows: Flows,
    policy: Arc<ArcSwap<Policy>>,
    /// Up to when keys were seen to expire, in seconds of Unix time.
    expired_until: u64,
}

impl Enforcement {
    /// Puts `policy` in force; in the kernel too, if `config` names interfaces. Nothing is attached yet. `pins` keep the
    /// kernel's part when the daemon is gone; what an earlier one has left in them is taken over.
    pub fn new(config: &Config, policy: Policy, pins: Option<Pins>) -> Result<Self> {
        let settings = kernel_settings(config, &policy);
        let kernel = match (config.kernel.interfaces.as_slice(), pins) {
            ([], _) => None,
            (_, None) => Some(Kernel::load(&settings)?),
            (_, Some(pins)) => Some(Kernel::load_pinned(&settings, pins)?),
        };
        let (slots, flows) = match &kernel {
            Some(kernel) => (kernel.slots().clone(), kernel.flows().clone()),
            None => (Slots::anonymous(config.kernel.max_keys)?, Flows::anonymous(1)?),
        };
        let observe = config.action == config::Action::Observe;
        let limiter = match config.mode {
            config::Mode::Proxy => Limiter::new(slots, observe),
            config::Mode::Kernel => Limiter::without_proxy(slots, observe),
        };
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let expired_until = clock::unix_seconds();
        let mut enforcement = Self { kernel, attached: Vec::new(), limiter, flows, policy, expired_until };
        enforcement.inherit()?;
        for key in enforcement.policy.load_full().keys() {
            enforcement.install(key)?;
        }
        // Only now is the kernel told that there is a daemon again: until here its ceilings were an earlier one's.
        enforcement.attend_to_kernel();
        Ok(enforcement)
    }

    /// Attaches the kernel program to each interface of `config`.
    pub fn attach(&mut self, config: &Config) -> Result<()> {
        let Some(kernel) = &mut self.kernel else {
            warn!("no kernel.interfaces: the proxy enforces the limits alone");
            return Ok(());
        };
        let modes: &[_] = match config.kernel.attach {
            config::Attach::Auto => &[Mode::Native, Mode::Generic, Mode::Tc],
            config::Attach::Native => &[Mode::Native],
            config::Attach::Generic => &[Mode::Generic],
            config::Attach::Tc => &[Mode::Tc],
        };
        for interface in &config.kernel.interfaces {
            let attached = kernel.attach(interface, modes)?;
            let (mode, ports, action) = (attached.mode, &config.kernel.ports, config.action);
            info!("attached to {interface}: {mode}, ports {ports:?}, action {action}");
            self.attached.push(attached);
        }
        kernel.settle_in(&self.attached)
    }

    /// Detaches the kernel program and removes what is pinned.
    pub fn detach(&mut self) -> Result<()> {
        self.attached.clear();
        self.kernel.as_mut().map_or(Ok(()), Kernel::detach)
    }

    /// Empties the slots of keys that are not in the policy, as an earlier daemon may have left them. The others keep
    /// everything but the counts of refusals, which are of a daemon's time.
    fn inherit(&mut self) -> Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let policy = self.policy.load();
        let own: HashMap<_, _> = policy.keys().map(|key| (key.slot, key.siphash)).collect();
        let slots = kernel.slots().clone();
        for (number, owner) in slots.owners() {
            if own.get(&number) != Some(&owner) {
                kernel.remove_key(owner)?;
                self.limiter.uninstall(number);
            } else if let Some(slot) = slots.get(number) {
                let counts = [&slot.refused_burst, &slot.refused_blocked, &slot.observed];
                counts.into_iter().for_each(|count| count.store(0));
            }
        }
        Ok(())
    }

    /// The interfaces that the kernel program is attached to, and how.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The judge of the proxy.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What the kernel has charged on each connection.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The policy in force, as the proxy reads it.
    pub fn policy(&self) -> &Arc<ArcSwap<Policy>> {
        &self.policy
    }

    /// Counts what the kernel has admitted against the hours of the keys, where there is no proxy that does. To be
    /// called more often than every second.
    pub fn follow_kernel(&self) {
        let now = clock::now();
        self.policy.load().keys().for_each(|key| self.limiter.follow_kernel(key, now));
    }

    /// Tells the kernel program the time, and writes what it has logged to the daemon's log: rare events. To be
    /// called every second.
    pub fn attend_to_kernel(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.set_clock();
            kernel.pass_on_log();
        }
    }

    /// Puts `next`, which was built from the policy in force, in force. What was used stays used.
    ///
    /// A key that goes is first unknown to the kernel, then its slot is emptied; a key that comes has its slot
    /// in order before the kernel knows it. So nobody is ever judged by a slot that is not his.
    pub fn apply(&mut self, next: Policy) -> Result<()> {
        let before = self.policy.load_full();
        if self.kernel.is_some() && next.secret() != before.secret() {
            bail!(
                "the key file has another secret than the kernel program was loaded with: restart the daemon"
            );
        }
        let next = Arc::new(next);
        let changes = next.changes(&before);
        let has_other_rules = next.router().rules() != before.router().rules();
        let has_other_tiers = next.tiers() != before.tiers();
        if changes.is_empty() && !has_other_rules && !has_other_tiers {
            return Ok(());
        }
        for key in &changes.removed {
            self.forget(key)?;
            self.limiter.uninstall(key.slot);
        }
        self.policy.store(next.clone());
        for key in changes.added.iter().chain(changes.changed.iter().map(|(_, key)| key)) {
            self.install(key)?;
        }
        if has_other_rules {
            // A rule for everything may block keys, or no longer.
            next.keys().try_for_each(|key| self.install(key))?;
        }
        let (added, changed, removed) = (changes.added.len(), changes.changed.len(), changes.removed.len());
        info!("keys: {added} added, {changed} changed, {removed} removed");
        Ok(())
    }

    /// Sees to the keys that have expired since the last time; or that no longer have, if somebody set the clock.
    pub fn expire(&mut self) -> Result<()> {
        let (before, now) = (self.expired_until, clock::unix_seconds());
        let policy = self.policy.load_full();
        for key in policy.expiring(before.min(now), before.max(now)) {
            self.install(key)?;
            if key.has_expired(now) {
                info!("key {} has expired", key.name);
            }
        }
        self.expired_until = now;
        Ok(())
    }

    /// Brings the slot of `key` up to date and tells the kernel of it, or to forget it if it may not be used: what
    /// such a key is answered is the proxy's to say.
    fn install(&mut self, key: &Key) -> Result<()> {
        self.limiter.install(key, self.policy.load().router().everywhere(), clock::now());
        match &mut self.kernel {
            Some(kernel) if key.is_usable(clock::unix_seconds()) => kernel.insert_key(key.siphash, key.slot),
            Some(_) => self.forget(key),
            None => Ok(()),
        }
    }

    fn forget(&mut self, key: &Key) -> Result<()> {
        self.kernel.as_mut().map_or(Ok(()), |kernel| kernel.remove_key(key.siphash))
    }

    /// How often the kernel program found each outcome; `None` where there is no program.
    pub fn counters(&self) -> Result<Option<Vec<(Outcome, u64)>>> {
        let counters = self.kernel.as_ref().map(Kernel::counters);
        counters.transpose().context("cannot read the kernel's counters")
    }

    /// One line of what the kernel program found, for the log.
    pub fn summary(&self) -> Result<Option<String>> {
        let Some(counters) = self.counters()? else { return Ok(None) };
        let found = counters.into_iter().filter(|(_, count)| *count > 0);
        let words: Vec<_> = found.map(|(outcome, count)| format!("{}={count}", outcome.name())).collect();
        Ok(Some(words.join(" ")))
    }
}

fn kernel_settings(config: &Config, policy: &Policy) -> KernelSettings {
    KernelSettings {
        secret: policy.secret(),
        header: config.keys.header.to_string(),
        bearer: config.keys.bearer,
        action: match config.action {
            config::Action::Drop => layout::Action::Drop,
            config::Action::Reset => layout::Action::Reset,
            config::Action::Observe => layout::Action::Observe,
            config::Action::Reply => layout::Action::Reply,
        },
        has_proxy: config.mode == config::Mode::Proxy,
        ratelimit_fields: config.headers.ratelimit_fields,
        late_answers: config.action == config::Action::Reply,
        ports: config.kernel.ports.clone(),
        max_keys: config.kernel.max_keys,
        max_flows: config.kernel.max_flows,
    }
}
