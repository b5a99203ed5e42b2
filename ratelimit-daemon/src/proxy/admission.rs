//! Whether a request is forwarded.

use super::bulk::{Bulk, Finding};
use super::connection::Client;
use super::forward;
use super::framing::Framing;
use super::head::{Field, RequestHead};
use super::identify::{Presented, all_presented, presented};
use super::refusal::{Reason, Refusal};
use super::survey::Survey;
use crate::config::{Action, Missing};
use crate::limiter::{Judgement, Limiter, Standing, Verdict};
use crate::policy::{Key, Policy};
use crate::record::{Kind, Origin};
use crate::rules::{Applied, BadTarget};
use crate::strangers::Strangers;
use ratelimit_common::flow::Credit;
use std::sync::Arc;

/// What follows for a request that is not refused.
pub(super) enum Admission {
    /// It is forwarded.
    Forward(Forward),
    /// Its body is looked into first, and then it is judged.
    Look(Bulk),
}

/// A request that is forwarded.
pub(super) struct Forward {
    /// How its body is framed.
    pub(super) framing: Framing,
    /// How the key's limits stand; `None` for a request without a key that may pass.
    pub(super) standing: Option<Standing>,
    /// Where it is counted.
    pub(super) origin: Origin,
    /// Its route, if that is new.
    pub(super) new_route: Option<Box<str>>,
}

/// Judges the request with this `head` at `now`: charges its key if it is admitted, and gives back what the
/// kernel took if it is refused before any limit. `finding` is what was found in the body, if it was looked into.
pub(super) fn admit(
    client: &Client,
    head: &RequestHead<'_, '_>,
    survey: &Survey<'_>,
    finding: Option<&Finding>,
    now: u64,
) -> Result<Admission, Refusal> {
    let shared = &client.worker.shared;
    let keys = &shared.config.keys;
    let policy = shared.policy.load();
    let framing = forward::framing(head, survey);
    let refusal = |reason| {
        client.worker.tally.reject();
        Refusal { reason, standing: None }
    };
    let refused = |reason| Err(refusal(reason));
    match (presented(head.fields, keys), framing) {
        (Presented::Conflict, _) => {
            give_back_all(client, head.fields);
            refused(Reason::ConflictingKeys)
        }
        (Presented::Nothing, Err(problem)) => refused(Reason::BadRequest(problem)),
        (Presented::Nothing, Ok(framing)) => match (keys.missing, client.worker.strangers()) {
            (Missing::Pass, _) => {
                let tally = &client.worker.tally;
                let (origin, new_route) = tally.origin(None, head.method, forward::path(head), &[]);
                tally.count(origin, Kind::Admitted);
                Ok(Admission::Forward(Forward { framing, standing: None, origin, new_route }))
            }
            (Missing::Anonymous, Some(strangers)) => {
                let key = stranger(client, &policy, strangers, head).map_err(refusal)?;
                let rules =
                    rules(client, &policy, head).map_err(|problem| refusal(Reason::BadRequest(problem)))?;
                // The kernel knows nothing of them.
                let (limiter, slot) = (strangers.limiter(), None);
                Request { client, key: &key, limiter, slot, rules, framing, now }.judge(head, survey, finding)
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
                let (framing, rules) = matched.map_err(|problem| {
                    give_back(client, &key);
                    client.worker.tally.reject();
                    let standing = Some(shared.limiter.standing(&key, &[], now));
                    Refusal { reason: Reason::BadRequest(problem), standing }
                })?;
                let (limiter, slot) = (&shared.limiter, Some(key.slot));
                Request { client, key: &key, limiter, slot, rules, framing, now }.judge(head, survey, finding)
            }
        },
    }
}

/// What the client that sends this `head` without a key has used; else why it is refused.
fn stranger(
    client: &Client,
    policy: &Policy,
    strangers: &Strangers,
    head: &RequestHead<'_, '_>,
) -> Result<Arc<Key>, Reason> {
    let limits = policy.tiers().get(strangers.tier()).ok_or(Reason::MissingKey)?;
    let address = client.provenance().client(head.fields);
    client.stranger(strangers, address, limits).ok_or(Reason::TooManyClients)
}

/// The rules that apply to a request that can be forwarded; else why it cannot be.
fn rules(client: &Client, policy: &Policy, head: &RequestHead<'_, '_>) -> Result<Vec<Applied>, &'static str> {
    let mut room = client.worker.paths.borrow_mut();
    let matching = policy.router().matching(&mut room, head.method, forward::path(head));
    matching.map_err(|BadTarget| "The path of the request is ambiguous.")
}

/// A request of a key that may be used, or of an address that has limits like a key.
struct Request<'a> {
    client: &'a Client,
    key: &'a Key,
    limiter: &'a Limiter,
    /// By which the kernel may have charged it.
    slot: Option<u32>,
    rules: Vec<Applied>,
    framing: Framing,
    now: u64,
}

impl Request<'_> {
    fn judge(
        self,
        head: &RequestHead<'_, '_>,
        survey: &Survey<'_>,
        finding: Option<&Finding>,
    ) -> Result<Admission, Refusal> {
        let Self { client, key, limiter, slot, rules, framing, now } = &self;
        let credit = || client.flow.take((*slot)?);
        let Some(finding) = finding else {
            let observe = client.worker.shared.config.action == Action::Observe;
            let Some(bulk) = Bulk::of(head, *framing, survey.expects_continue, rules, observe) else {
                let judgement = limiter.judge(key, rules, credit(), *now);
                return self.conclude(head, judgement);
            };
            // Whoever is over a limit need not send the body.
            return match limiter.refuse_early(key, rules, credit, *now) {
                Some(judgement) => self.conclude(head, judgement),
                None => Ok(Admission::Look(bulk)),
            };
        };
        if let Some(reason) = finding.refusal {
            if credit() == Some(Credit::Paid) {
                limiter.refund(key.slot, 1);
            }
            client.worker.tally.reject();
            return Err(Refusal { reason, standing: Some(limiter.standing(key, rules, *now)) });
        }
        let judgement = limiter.judge_looked_into(key, rules, &finding.dry_runs, credit(), *now);
        self.conclude(head, judgement)
    }

    fn conclude(self, head: &RequestHead<'_, '_>, judgement: Judgement) -> Result<Admission, Refusal> {
        let Self { client, key, slot, rules, framing, now, .. } = self;
        let Judgement { verdict, standing } = judgement;
        let tally = &client.worker.tally;
        let (origin, new_route) = tally.origin(slot, head.method, forward::path(head), &rules);
        match verdict {
            Verdict::Admitted => {
                tally.count(origin, Kind::Admitted);
                if !standing.dry_runs.is_empty() {
                    tally.count(origin, Kind::Observed);
                }
            }
            Verdict::Observed { .. } => tally.count(origin, Kind::Observed),
            Verdict::Refused { limit, wait_ns } => {
                tally.count(origin, limit.refusal());
                client.worker.sample.note(key, &limit, wait_ns, now);
                return Err(Refusal { reason: Reason::RateLimited(wait_ns), standing: Some(standing) });
            }
        }
        Ok(Admission::Forward(Forward { framing, standing: Some(standing), origin, new_route }))
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
