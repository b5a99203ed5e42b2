//! Whether a request is forwarded.

use super::connection::Client;
use super::forward;
use super::framing::Framing;
use super::head::{Field, RequestHead};
use super::identify::{Presented, all_presented, presented};
use super::refusal::{Reason, Refusal};
use super::survey::Survey;
use crate::config::Missing;
use crate::limiter::{Judgement, Standing, Verdict};
use crate::policy::{Key, Policy};
use crate::rules::{Applied, BadTarget};
use crate::strangers::Strangers;
use ratelimit_common::flow::Credit;

/// Judges the request with this `head` at `now`: charges its key if it is admitted, and gives back what the
/// kernel took if it is refused before any limit. Returns how the body is framed and how the key's limits
/// stand; no standing for a request without a key that may pass.
pub(super) fn admit(
    client: &Client,
    head: &RequestHead<'_, '_>,
    survey: &Survey<'_>,
    now: u64,
) -> Result<(Framing, Option<Standing>), Refusal> {
    let shared = &client.worker.shared;
    let keys = &shared.config.keys;
    let policy = shared.policy.load();
    let framing = forward::framing(head, survey);
    let refused = |reason| Err(Refusal { reason, standing: None });
    match (presented(head.fields, keys), framing) {
        (Presented::Conflict, _) => {
            give_back_all(client, head.fields);
            refused(Reason::ConflictingKeys)
        }
        (Presented::Nothing, Err(problem)) => refused(Reason::BadRequest(problem)),
        (Presented::Nothing, Ok(framing)) => match (keys.missing, client.worker.strangers()) {
            (Missing::Pass, _) => Ok((framing, None)),
            (Missing::Anonymous, Some(strangers)) => {
                let matched = rules(client, &policy, head).map(|rules| (framing, rules));
                judge_stranger(client, strangers, &policy, head, matched, now)
            }
            _ => refused(Reason::MissingKey),
        },
        (Presented::Key(key), framing) => match client.known.authenticate(&policy, key) {
            None => refused(Reason::UnknownKey),
            Some(key) if !key.enabled => {
                give_back(client, &key);
                refused(Reason::DisabledKey)
            }
            Some(key) if key.has_expired_now() => {
                give_back(client, &key);
                refused(Reason::ExpiredKey)
            }
            Some(key) => {
                let matched = framing.and_then(|framing| Ok((framing, rules(client, &policy, head)?)));
                judge(client, &key, matched, now)
            }
        },
    }
}

/// The rules that apply to a request that can be forwarded; else why it cannot be.
fn rules(client: &Client, policy: &Policy, head: &RequestHead<'_, '_>) -> Result<Vec<Applied>, &'static str> {
    let mut room = client.worker.paths.borrow_mut();
    let matching = policy.router().matching(&mut room, head.method, forward::path(head));
    matching.map_err(|BadTarget| "The path of the request is ambiguous.")
}

/// Judges a request of `key`, which may be used.
fn judge(
    client: &Client,
    key: &Key,
    matched: Result<(Framing, Vec<Applied>), &'static str>,
    now: u64,
) -> Result<(Framing, Option<Standing>), Refusal> {
    let limiter = &client.worker.shared.limiter;
    let (framing, rules) = matched.map_err(|problem| {
        give_back(client, key);
        Refusal { reason: Reason::BadRequest(problem), standing: Some(limiter.standing(key, &[], now)) }
    })?;
    conclude(framing, limiter.judge(key, &rules, client.flow.take(key.slot), now))
}

/// Judges a request without a key. The kernel knows nothing of it.
fn judge_stranger(
    client: &Client,
    strangers: &Strangers,
    policy: &Policy,
    head: &RequestHead<'_, '_>,
    matched: Result<(Framing, Vec<Applied>), &'static str>,
    now: u64,
) -> Result<(Framing, Option<Standing>), Refusal> {
    let refusal = |reason| Refusal { reason, standing: None };
    let (framing, rules) = matched.map_err(|problem| refusal(Reason::BadRequest(problem)))?;
    let limits = policy.tiers().get(strangers.tier()).ok_or(refusal(Reason::MissingKey))?;
    let address = client.provenance().client(head.fields);
    let key = client.stranger(strangers, address, limits).ok_or(refusal(Reason::TooManyClients))?;
    conclude(framing, strangers.limiter().judge(&key, &rules, None, now))
}

/// What a judgement means for a request whose body is framed so.
fn conclude(framing: Framing, judgement: Judgement) -> Result<(Framing, Option<Standing>), Refusal> {
    let Judgement { verdict, standing } = judgement;
    match verdict {
        Verdict::Admitted | Verdict::Observed { .. } => Ok((framing, Some(standing))),
        Verdict::Refused { wait_ns, .. } => {
            Err(Refusal { reason: Reason::RateLimited(wait_ns), standing: Some(standing) })
        }
    }
}

/// Gives back what the kernel took for a request of `key` that is refused before any limit.
fn give_back(client: &Client, key: &Key) {
    if client.flow.take(key.slot) == Some(Credit::Paid) {
        client.worker.shared.limiter.refund(key.slot, 1);
    }
}

/// The kernel has charged one of the keys that `fields` name; which one is its own affair.
fn give_back_all(client: &Client, fields: &[Field<'_>]) {
    let shared = &client.worker.shared;
    let policy = shared.policy.load();
    let keys = all_presented(fields, &shared.config.keys);
    keys.filter_map(|key| policy.authenticate(key)).for_each(|key| give_back(client, key));
}
