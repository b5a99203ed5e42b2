//! `GET /api/keys` and `GET /api/keys/NAME`: who uses how much of what.

use super::Desk;
use crate::admin::Refusal;
use crate::admin::keys::{KeyState, Usability};
use crate::clock;
use crate::limiter::Limiter;
use crate::record::{Counts, Id, Name, OTHER_ROUTES, Record, Watched};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Most keys in one answer.
const MOST: usize = 200;

/// Longest text that is searched for.
const LONGEST: usize = 64;

/// Points of a row's plot, one for each minute.
const SPARK: u64 = 60;

/// What is asked of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Part of a name, a tier or a fingerprint.
    #[serde(default)]
    search: String,
    #[serde(default)]
    tier: String,
    /// Only keys that may be used, or may not, or are near their limit.
    #[serde(default)]
    state: State,
    #[serde(default)]
    sort: Sort,
    #[serde(default)]
    offset: usize,
    #[serde(default = "fifty")]
    limit: usize,
}

fn fifty() -> usize {
    50
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    All,
    Enabled,
    Disabled,
    Expired,
    Near,
    Refused,
}

/// By what keys are in order; the largest first, names from A.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sort {
    /// The share of the hour that is used.
    #[default]
    Share,
    /// Requests that were admitted in the last hour.
    Admitted,
    /// Requests that were refused in the last hour.
    Refused,
    Name,
}

/// One key of many.
#[derive(Debug, Serialize)]
pub(super) struct KeyRow {
    pub(super) name: String,
    tier: String,
    fingerprint: String,
    state: Usability,
    /// Of the hour: requests that it counts, and that it admits.
    pub(super) used: u32,
    pub(super) limit: u32,
    /// Of the burst bucket: tokens that it has, and that it can have.
    tokens: u32,
    burst: u32,
    /// In the last hour.
    pub(super) admitted: u32,
    pub(super) refused: u32,
    /// Admitted and refused, minute by minute, over the last hour.
    spark: [Vec<u64>; 2],
}

/// Some of the keys.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// How many there are that were asked for, here and on other pages.
    total: usize,
    tiers: Vec<String>,
    keys: Vec<KeyRow>,
}

/// All about one key.
#[derive(Debug, Serialize)]
pub(super) struct KeyPage {
    row: KeyRow,
    state: KeyState,
    /// In the last hour.
    hour: Counts,
    /// Since the daemon's start, by route.
    routes: Vec<(String, Counts)>,
}

impl Watched {
    /// Whether it has used no less than so many percent of its hour.
    pub(crate) fn is_at(&self, percent: u32) -> bool {
        self.used > 0
            && u64::from(self.used) * 100 >= u64::from(self.key.limits.requests_per_hour) * u64::from(percent)
    }

    fn is(&self, state: State) -> bool {
        let usability = Usability::of(&self.key);
        match state {
            State::All => true,
            State::Enabled => usability == Usability::Enabled,
            State::Disabled => usability == Usability::Disabled,
            State::Expired => usability == Usability::Expired,
            State::Near => self.is_at(super::overview::NEAR[0]),
            State::Refused => self.refused > 0,
        }
    }

    /// What it is ordered by, the largest last.
    fn rank(&self, sort: Sort) -> u64 {
        match sort {
            // A share finer than any that can be shown.
            Sort::Share => (u64::from(self.used) << 32) / u64::from(self.key.limits.requests_per_hour.max(1)),
            Sort::Admitted => u64::from(self.admitted) + u64::from(self.refused),
            Sort::Refused => self.refused.into(),
            Sort::Name => 0,
        }
    }
}

/// The first `count` of `keys`, ordered by `sort`.
pub(super) fn top<'a>(
    keys: impl IntoIterator<Item = &'a Watched>,
    sort: Sort,
    count: usize,
) -> Vec<&'a Watched> {
    let mut keys: Vec<_> = keys.into_iter().collect();
    let order = |one: &&Watched, other: &&Watched| {
        Reverse(one.rank(sort))
            .cmp(&Reverse(other.rank(sort)))
            .then_with(|| one.key.name.cmp(&other.key.name))
    };
    if count < keys.len() {
        keys.select_nth_unstable_by(count, order);
        keys.truncate(count);
    }
    keys.sort_unstable_by(order);
    keys
}

impl KeyRow {
    pub(super) fn of(record: &Record, limiter: &Limiter, watched: &Watched, now: u64) -> Self {
        let key = &watched.key;
        let standing = limiter.standing(key, &[], now);
        let series = record.series(watched.id, SPARK * 60, SPARK, now, clock::unix_seconds());
        let spark = |of: fn(&Counts) -> u64| series.points.iter().map(of).collect();
        Self {
            name: key.name.clone(),
            tier: key.tier.clone(),
            fingerprint: key.fingerprint.clone(),
            state: Usability::of(key),
            used: standing.hour.limit - standing.hour.remaining,
            limit: standing.hour.limit,
            tokens: standing.burst_remaining,
            burst: standing.burst_capacity,
            admitted: watched.admitted,
            refused: watched.refused,
            spark: [spark(|counts| counts.of(crate::record::Kind::Admitted)), spark(Counts::refused)],
        }
    }
}

impl Page {
    pub(super) fn of(desk: &Desk, query: &Query) -> Result<Self, Refusal> {
        if query.limit == 0 || query.limit > MOST || query.search.len() > LONGEST || query.offset > 1 << 24 {
            let told = format!("limit is 1 to {MOST}, search has at most {LONGEST} bytes");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_query", told));
        }
        let search = query.search.to_ascii_lowercase();
        let record = desk.record.lock();
        let has = |text: &str| text.to_ascii_lowercase().contains(&search);
        let matching: Vec<_> = record
            .subjects()
            .keys()
            .iter()
            .filter(|watched| query.tier.is_empty() || watched.key.tier == query.tier)
            .filter(|watched| watched.is(query.state))
            .filter(|Watched { key, .. }| {
                search.is_empty() || has(&key.name) || has(&key.tier) || key.fingerprint.starts_with(&search)
            })
            .collect();
        let total = matching.len();
        let now = clock::now();
        let first = top(matching, query.sort, query.offset.saturating_add(query.limit));
        let rows = first.into_iter().skip(query.offset);
        let keys = rows.map(|watched| KeyRow::of(&record, &desk.limiter, watched, now)).collect();
        let mut tiers: Vec<_> = record.subjects().tiers().map(str::to_owned).collect();
        tiers.sort_unstable();
        Ok(Self { total, tiers, keys })
    }
}

impl KeyPage {
    pub(super) async fn of(desk: &Desk, name: String) -> Result<Self, Refusal> {
        let unknown =
            || Refusal::new(StatusCode::NOT_FOUND, "unknown_key", format!("there is no key {name:?}"));
        let asked = name.clone();
        let state = desk.line.ask(move |control| KeyState::of(control, &asked)).await?.ok_or_else(unknown)?;
        let record = desk.record.lock();
        let watched = find(&record, &name).ok_or_else(unknown)?;
        let mut routes: Vec<_> =
            record.routes_of(watched.id).map(|(id, counts)| (route(&record, id), *counts)).collect();
        routes.sort_unstable_by_key(|(_, counts)| Reverse(counts.sum(|_| true)));
        routes.truncate(MOST);
        Ok(Self {
            row: KeyRow::of(&record, &desk.limiter, watched, clock::now()),
            state,
            hour: record.sum(watched.id, 3_600),
            routes,
        })
    }
}

/// The key called `name`.
pub(super) fn find<'a>(record: &'a Record, name: &str) -> Option<&'a Watched> {
    record.subjects().keys().iter().find(|watched| watched.key.name == name)
}

fn route(record: &Record, id: Id) -> String {
    let name = record.subjects().names().find(|(_, known)| *known == id && id != OTHER_ROUTES);
    match name {
        Some((Name::Route(name) | Name::Rule(name), _)) => name.clone(),
        None => "other".to_owned(),
    }
}
