//! From the text of a scenario file to a [`Scenario`]: ranges, defaults, and what must fit together.

use super::{Carrier, Choice, Expect, Population, Rule, Scenario, Tier};
use crate::document::{Field, Refused, Section};
use crate::load::arrival::{Law, Phase, Timeline};
use crate::load::behaviour::Behaviour;
use crate::load::endpoint::{BUILT_IN, Body, BuiltIn, Endpoint};
use std::ops::RangeInclusive;
use std::time::Duration;

const LIMIT: RangeInclusive<u32> = 1..=1_000_000_000;
const BURST: RangeInclusive<u32> = 1..=10_000_000;
const KEYS: RangeInclusive<u32> = 1..=1_000_000;
const CONNECTIONS: RangeInclusive<u32> = 1..=1 << 20;
const RATE: RangeInclusive<f64> = 0.001..=10_000_000.0;
const SECONDS: RangeInclusive<f64> = 0.001..=86_400.0;

/// The tiers of the guide: name, requests an hour, burst.
const GUIDE_TIERS: [(&str, u32, u32); 2] = [("professional", 1_000, 100), ("enterprise", 10_000, 500)];

/// The endpoint limits of the guide: name, requests an hour.
const GUIDE_RULES: [(&str, u32); 3] = [("export", 10), ("bulk", 20), ("search", 100)];

const HOUR: Duration = Duration::from_secs(3_600);

const CARRIERS: &[(&str, Carrier)] = &[("x-api-key", Carrier::ApiKey), ("bearer", Carrier::Bearer)];
const METHODS: &[(&str, &str)] = &[
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
];
const RESETS: &[(&str, bool)] = &[("refused", true), ("error", false)];

pub(super) fn scenario(top: &Section<'_>, name: &str) -> Result<Scenario, Refused> {
    let description = top.required("description", "a sentence that says what it is for", Field::text);
    let seed = top.or("seed", 1, |field| field.whole(0..=u32::MAX));
    let (tiers, rules) = (tiers(top), rules(top));
    let populations = top.required("population", "one [[population]] or more", |field| {
        field.each(|item| item.section(|section| population(section, &tiers, &rules)))
    });
    let expect = top.section("expect", |section| Expect {
        rules: section.or("rules", true, Field::boolean),
        headers: section.or("headers", true, Field::boolean),
        reset_refuses: section.or("reset", true, |field| field.one_of(RESETS)),
    });
    let (description, populations) = (description?.to_owned(), populations?);
    Ok(Scenario { name: name.to_owned(), description, seed: seed.into(), tiers, rules, populations, expect })
}

fn tiers(top: &Section<'_>) -> Vec<Tier> {
    let guide = GUIDE_TIERS.map(|(name, requests_per_hour, burst_per_minute)| Tier {
        name: name.to_owned(),
        requests_per_hour,
        burst_per_minute,
    });
    let mut tiers = top.named_sections("tiers", |name, section| {
        let hint = "a number of requests";
        let requests_per_hour = section.required("requests_per_hour", hint, |field| field.whole(LIMIT));
        let burst_per_minute = section.required("burst_per_minute", hint, |field| field.whole(BURST));
        let name = name.to_owned();
        Ok(Tier { name, requests_per_hour: requests_per_hour?, burst_per_minute: burst_per_minute? })
    });
    for tier in guide {
        if !tiers.iter().any(|own| own.name == tier.name) {
            tiers.push(tier);
        }
    }
    tiers
}

fn rules(top: &Section<'_>) -> Vec<Rule> {
    let mut rules = top.named_sections("rules", |name, section| {
        let limit = section.required("limit", "a number of requests", |field| field.whole(LIMIT));
        let window = section.or("window_seconds", 3_600, |field| field.whole(1..=86_400));
        Ok(Rule { name: name.to_owned(), limit: limit?, window: Duration::from_secs(window.into()) })
    });
    for (name, limit) in GUIDE_RULES {
        if !rules.iter().any(|own| own.name == name) {
            rules.push(Rule { name: name.to_owned(), limit, window: HOUR });
        }
    }
    rules
}

fn population(section: &Section<'_>, tiers: &[Tier], rules: &[Rule]) -> Result<Population, Refused> {
    let name = section.required("name", "a name of your choice", Field::text);
    let tier = section.required("tier", "the name of a tier, such as \"professional\"", |field| {
        let place = |text: &str| tiers.iter().position(|tier| tier.name == text);
        field.parsed(|text| {
            place(text).ok_or_else(|| unknown("tier", text, tiers.iter().map(|tier| &tier.name)))
        })
    });
    let exponent = section.optional("zipf", |field| field.number(0.01..=10.0));
    let timeline = section.or("arrivals", closed(10.0), timeline);
    let mix = section.required("requests", "one or more, such as [{ endpoint = \"course\" }]", |field| {
        let mix = field.each(|item| item.section(|section| request(section, rules)))?;
        if mix.is_empty() { Err(field.refuse("empty; write one request or more")) } else { Ok(mix) }
    });
    Ok(Population {
        keys: section.or("keys", 1, |field| field.whole(KEYS)),
        choice: exponent.map_or(Choice::Uniform, |exponent| Choice::Zipf { exponent }),
        behaviour: section.or("behaviour", Behaviour::Hammer, |field| field.one_of(Behaviour::ALL)),
        connections: section.or("connections", 16, |field| field.whole(CONNECTIONS)),
        keep_alive: section.or("keep_alive", true, Field::boolean),
        carrier: section.or("carrier", Carrier::ApiKey, |field| field.one_of(CARRIERS)),
        name: name?.to_owned(),
        tier: tier?,
        timeline,
        mix: mix?,
    })
}

/// A closed loop for so many seconds.
pub(super) fn closed(seconds: f64) -> Timeline {
    Timeline(vec![Phase { length: Duration::from_secs_f64(seconds), law: Law::Closed }])
}

fn timeline(field: &Field<'_>) -> Result<Timeline, Refused> {
    let timeline = Timeline(field.each(|item| item.section(phase))?);
    match timeline.0.len() {
        0 => Err(field.refuse("empty; write one phase or more")),
        1 => Ok(timeline),
        _ if timeline.is_closed() => Err(field.refuse("a phase of kind \"closed\" has to be the only one")),
        _ => Ok(timeline),
    }
}

fn phase(section: &Section<'_>) -> Result<Phase, Refused> {
    const KINDS: &[(&str, u8)] =
        &[("closed", 0), ("constant", 1), ("ramp", 2), ("poisson", 3), ("bursts", 4), ("pause", 5)];
    let kind =
        section.required("kind", "how requests arrive, such as \"constant\"", |field| field.one_of(KINDS));
    let seconds = section.required("seconds", "the length of the phase", |field| field.number(SECONDS));
    let rate = |name| section.required(name, "requests a second", |field| field.number(RATE));
    let from_nothing =
        |name| section.required(name, "requests a second", |field| field.number(0.0..=*RATE.end()));
    let law = match kind? {
        0 => Law::Closed,
        1 => Law::Constant { rate: rate("rate")? },
        2 => {
            let (from, to) = (from_nothing("from"), from_nothing("to"));
            Law::Ramp { from: from?, to: to? }
        }
        3 => Law::Poisson { rate: rate("rate")? },
        4 => {
            let size = section.required("size", "requests at once", |field| field.whole(1..=1_000_000));
            let every = section.or("every_seconds", 60.0, |field| field.number(SECONDS));
            Law::Bursts { size: size?, every: Duration::from_secs_f64(every) }
        }
        _ => Law::Pause,
    };
    Ok(Phase { length: Duration::from_secs_f64(seconds?), law })
}

/// An endpoint of the guide by its name, or any other by its path.
fn request(section: &Section<'_>, rules: &[Rule]) -> Result<(Endpoint, f64), Refused> {
    let weight = section.or("weight", 1.0, |field| field.number(0.001..=1_000_000.0));
    let place = |text: &str| rules.iter().position(|rule| rule.name == text);
    let rule = section.optional("rule", |field| {
        let names = || rules.iter().map(|rule| &rule.name);
        field.parsed(|text| place(text).ok_or_else(|| unknown("rule", text, names())))
    });
    if let Some(path) = section.optional("path", path) {
        let method = section.or("method", "GET", |field| field.one_of(METHODS)).to_owned();
        let name = format!("{method} {path}");
        return Ok((Endpoint { name, method, path, rule, body: Body::Nothing }, weight));
    }
    let endpoint = section.required("endpoint", "endpoint = \"course\", or a path of your own", |field| {
        let names = || BUILT_IN.iter().map(|endpoint| endpoint.name);
        let find = |text: &str| BUILT_IN.iter().find(|endpoint| endpoint.name == text);
        field.parsed(|text| find(text).ok_or_else(|| unknown("endpoint", text, names())))
    })?;
    Ok((guide_endpoint(section, endpoint, rule.or(endpoint.rule.and_then(place)))?, weight))
}

fn guide_endpoint(
    section: &Section<'_>,
    endpoint: &BuiltIn,
    rule: Option<usize>,
) -> Result<Endpoint, Refused> {
    let records = section.optional("records", |field| field.whole(0..=100_000));
    let body = match (endpoint.body, records) {
        (Some(body), records) => body(records.unwrap_or(10)),
        (None, None) => Body::Nothing,
        (None, Some(_)) => {
            return Err(
                section.refuse("records", &format!("{} takes no records; leave this out", endpoint.name))
            );
        }
    };
    let (name, method, path) =
        (endpoint.name.to_owned(), endpoint.method.to_owned(), endpoint.path.to_owned());
    Ok(Endpoint { name, method, path, rule, body })
}

fn path(field: &Field<'_>) -> Result<String, Refused> {
    field.parsed(|text| {
        let is_sendable = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        let refusal = || format!("{text:?} cannot be sent; allowed: visible ASCII that starts with '/'");
        is_sendable.then(|| text.to_owned()).ok_or_else(refusal)
    })
}

fn unknown<Name: AsRef<str>>(what: &str, text: &str, known: impl Iterator<Item = Name>) -> String {
    let known: Vec<_> = known.map(|name| name.as_ref().to_owned()).collect();
    format!("there is no {what} {text:?}; allowed: {}", known.join(", "))
}
