//! `GET /keys`, `GET /keys/NAME` and `GET /explain`: how a key stands, and what one of its requests would get.

use crate::clock;
use crate::config::Mode;
use crate::control::Control;
use crate::limiter::{Limit, LimitState, Verdict};
use crate::policy::Key;
use crate::rules::{self, Applied, BadTarget};
use ratelimit_common::SECOND_NS;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What `GET /explain` is asked, as its query.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The key's name.
    pub(crate) key: String,
    pub(crate) method: String,
    /// With or without a query of its own.
    pub(crate) path: String,
}

/// The answer to `GET /keys/NAME`, and one of many to `GET /keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyState {
    pub(crate) name: String,
    pub(crate) tier: String,
    pub(crate) fingerprint: String,
    pub(crate) state: Usability,
    /// Its burst and its hour; every endpoint rule too, where one key is asked for.
    pub(crate) limits: Vec<LimitStanding>,
    pub(crate) requests: Counts,
}

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Usability {
    Enabled,
    Disabled,
    Expired,
}

/// How a limit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitStanding {
    /// `burst`, `hour`, or the rule's name.
    pub(crate) name: String,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) window_seconds: u32,
    /// Until it admits a request, rounded up; 0 if it does now.
    pub(crate) wait_seconds: u64,
    pub(crate) is_dry_run: bool,
}

/// Requests of a key by what came of them, since the daemon started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) admitted: u64,
    pub(crate) refused_burst: u64,
    /// In the kernel also those that a rule for all requests refused.
    pub(crate) refused_hour: u64,
    pub(crate) refused_rule: u64,
    /// Admitted by a dry run, which would have been refused.
    pub(crate) observed: u64,
}

/// The answer to `GET /explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) key: String,
    pub(crate) tier: String,
    pub(crate) verdict: Answer,
    /// The code of an answer that is no 429, or the limit that refuses: the one with the longest wait.
    pub(crate) refused_by: Option<String>,
    /// `Retry-After` of the refusal.
    pub(crate) retry_after: Option<u64>,
    /// The limits that apply to the request.
    pub(crate) limits: Vec<LimitStanding>,
}

/// What a request would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Admitted,
    Refused,
    /// Admitted, but an enforcing daemon would refuse it.
    Observed,
}

impl KeyState {
    /// `None` if there is no key of this name.
    pub(crate) fn of(control: &Control, name: &str) -> Option<Self> {
        let key = find(control, name)?;
        let policy = control.enforcement.policy().load();
        let rules = if has_proxy(control) { policy.router().windows() } else { Vec::new() };
        Some(Self::new(control, &key, &rules))
    }

    /// Of all keys.
    pub(super) fn all(control: &Control) -> Vec<Self> {
        control.enforcement.policy().load().keys().map(|key| Self::new(control, key, &[])).collect()
    }

    fn new(control: &Control, key: &Key, rules: &[Applied]) -> Self {
        let foreseen = control.enforcement.limiter().foresee(key, rules, clock::now());
        Self {
            name: key.name.clone(),
            tier: key.tier.clone(),
            fingerprint: key.fingerprint.clone(),
            state: Usability::of(key),
            limits: foreseen.limits.iter().map(LimitStanding::of).collect(),
            requests: Counts::of(control, key),
        }
    }
}

impl Explanation {
    /// `None` if there is no key of this name.
    pub(crate) fn of(control: &Control, request: &Request) -> Option<Self> {
        let key = find(control, &request.key)?;
        let policy = control.enforcement.policy().load();
        let mut room = rules::Room::default();
        let matching = match has_proxy(control) {
            true => policy.router().matching(&mut room, &request.method, &request.path),
            false => Ok(Vec::new()),
        };
        let code = match (Usability::of(&key), &matching) {
            (Usability::Disabled, _) => Some("disabled_key"),
            (Usability::Expired, _) => Some("expired_key"),
            (Usability::Enabled, Err(BadTarget)) => Some("bad_request"),
            (Usability::Enabled, Ok(_)) => None,
        };
        let limiter = control.enforcement.limiter();
        let foreseen = limiter.foresee(&key, &matching.unwrap_or_default(), clock::now());
        let (verdict, refused_by, wait_ns) = match (code, &foreseen.verdict) {
            (Some(code), _) => (Answer::Refused, Some(code), None),
            (None, Verdict::Admitted) => (Answer::Admitted, None, None),
            (None, Verdict::Refused { limit, wait_ns }) => {
                (Answer::Refused, Some(limit.name()), Some(wait_ns))
            }
            (None, Verdict::Observed { limit, wait_ns }) => {
                (Answer::Observed, Some(limit.name()), Some(wait_ns))
            }
        };
        Some(Self {
            key: key.name.clone(),
            tier: key.tier.clone(),
            verdict,
            refused_by: refused_by.map(str::to_owned),
            retry_after: wait_ns.map(|wait| wait.div_ceil(SECOND_NS)),
            limits: foreseen.limits.iter().map(LimitStanding::of).collect(),
        })
    }
}

fn find(control: &Control, name: &str) -> Option<Arc<Key>> {
    control.enforcement.policy().load().keys().find(|key| key.name == name).cloned()
}

/// Where there is none, rules are not available.
fn has_proxy(control: &Control) -> bool {
    control.config().mode == Mode::Proxy
}

impl Usability {
    pub(crate) fn of(key: &Key) -> Self {
        match (key.enabled, key.has_expired_now()) {
            (false, _) => Self::Disabled,
            (true, true) => Self::Expired,
            (true, false) => Self::Enabled,
        }
    }
}

impl LimitStanding {
    fn of(state: &LimitState) -> Self {
        let is_dry_run = matches!(&state.limit, Limit::Rule(applied) if applied.rule.is_dry_run);
        Self {
            name: state.limit.name().to_owned(),
            limit: state.most,
            remaining: state.remaining,
            window_seconds: state.window_seconds,
            wait_seconds: state.wait_ns.div_ceil(SECOND_NS),
            is_dry_run,
        }
    }
}

impl Counts {
    /// What the kernel refuses never reaches the proxy, so the two are added. What it observes does, where there is one.
    fn of(control: &Control, key: &Key) -> Self {
        let usage = &key.usage;
        let slot = control.enforcement.limiter().slot(key);
        let kernel = |read: fn(&ratelimit_common::layout::Slot) -> u64| slot.map_or(0, read);
        let [admitted, burst, hour, rule, observed] = [
            &usage.admitted,
            &usage.refused_burst,
            &usage.refused_hour,
            &usage.refused_rule,
            &usage.observed,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        Self {
            admitted,
            refused_burst: burst + kernel(|slot| slot.refused_burst.load()),
            refused_hour: hour + kernel(|slot| slot.refused_blocked.load()),
            refused_rule: rule,
            observed: match has_proxy(control) {
                true => observed,
                false => kernel(|slot| slot.observed.load()),
            },
        }
    }
}
