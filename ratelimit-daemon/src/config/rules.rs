//! The endpoint rules of a configuration: the built-in ones as they are, changed or switched off, and others.

use crate::document::{Field, Refused, Section};
use crate::policy;
use crate::rules::{Bulk, Endpoint, Rule, Rules};
use std::ops::RangeInclusive;

const LIMIT: RangeInclusive<u32> = policy::Limits::RULE;
const WINDOW: RangeInclusive<u32> = 1..=86_400;
const COST: RangeInclusive<u32> = 1..=1_000_000;
const RECORDS: RangeInclusive<u32> = 1..=1_000_000_000;

/// Names that the `RateLimit` fields have for the other limits.
const TAKEN: [&str; 2] = ["burst", "hour"];

pub(super) fn rules(top: &Section<'_>) -> Rules {
    let built_in = Rules::built_in();
    let case_sensitive =
        top.section("paths", |section| section.or("case_sensitive", built_in.case_sensitive, Field::boolean));
    let set: Vec<(String, Option<Rule>)> = top.named_sections("rules", |name, section| {
        let rule = rule(name, section, built_in.get(name));
        check_name(name).map_err(|text| section.refuse_name(&text))?;
        Ok((name.to_owned(), rule?))
    });
    let is_set = |rule: &Rule| set.iter().any(|(name, _)| *name == rule.name);
    let unchanged: Vec<_> = built_in.rules.iter().filter(|rule| !is_set(rule)).cloned().collect();
    let mut rules: Vec<_> =
        unchanged.into_iter().chain(set.into_iter().filter_map(|(_, rule)| rule)).collect();
    rules.sort_by(|one, other| one.name.cmp(&other.name));
    Rules { rules, case_sensitive }
}

fn check_name(name: &str) -> Result<(), String> {
    if TAKEN.contains(&name) {
        return Err(format!("{name:?} is what the RateLimit fields call another limit; write another name"));
    }
    policy::check_tier_name(name)
}

/// A rule, or `None` if it is switched off. What is not set of a built-in rule stays as it is; a new rule says where
/// it applies and what it admits.
fn rule(name: &str, section: &Section<'_>, built_in: Option<&Rule>) -> Result<Option<Rule>, Refused> {
    let is_enabled = section.or("enabled", true, Field::boolean);
    let hint = "endpoints such as [\"POST /courses/:id/export\"]";
    let endpoints = match built_in {
        Some(rule) => Ok(section.or("endpoints", rule.endpoints.clone(), endpoints)),
        None => section.required("endpoints", hint, endpoints),
    };
    let limit = match built_in {
        Some(rule) => Ok(section.or("limit", rule.limit, |field| field.whole(LIMIT))),
        None => section.required("limit", "a number of requests, such as 10", |field| field.whole(LIMIT)),
    };
    let built_in_bulk = built_in.and_then(|rule| rule.bulk.clone());
    let rule = Rule {
        name: name.to_owned(),
        window_seconds: section.or("window_seconds", 3_600, |field| field.whole(WINDOW)),
        is_shared: section.or("shared", true, Field::boolean),
        cost: section.or("cost", 1, |field| field.whole(COST)),
        bulk: bulk(section, built_in_bulk),
        is_dry_run: section.or("dry_run", false, Field::boolean),
        endpoints: endpoints?,
        limit: limit?,
    };
    Ok(Some(rule).filter(|_| is_enabled))
}

fn endpoints(field: &Field<'_>) -> Result<Vec<Endpoint>, Refused> {
    let endpoints = field.each_once(|item| item.parsed(str::parse::<Endpoint>))?;
    if endpoints.is_empty() {
        return Err(field.refuse("empty; write one endpoint or more, or enabled = false"));
    }
    Ok(endpoints)
}

fn bulk(section: &Section<'_>, built_in: Option<Bulk>) -> Option<Bulk> {
    let max_records = section.optional("max_records", |field| field.whole(RECORDS));
    let records = section.optional("records", |field| field.parsed(pointer));
    let max_records = max_records.or(built_in.map(|bulk| bulk.max_records));
    match (max_records, records) {
        (None, Some(_)) => {
            section.refuse("records", "of no use without max_records; write a number there, such as 100");
            None
        }
        (Some(max_records), records) => Some(Bulk { max_records, records }),
        (None, None) => None,
    }
}

/// A JSON pointer (RFC 6901): the names in it. The members of arrays have no names here.
fn pointer(text: &str) -> Result<Vec<String>, String> {
    let rest = text.strip_prefix('/').ok_or_else(|| {
        format!("{text:?} is not a JSON pointer to a member, such as \"/records\" or \"/data/students\"")
    })?;
    Ok(rest.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{self, Problems};
    use std::path::Path;

    fn parse(text: &str) -> Result<Rules, Problems> {
        document::parse(Path::new("f.toml"), text, |top| Ok(rules(top)))
    }

    #[test]
    fn built_in_rules_stay_change_or_go() {
        assert_eq!(parse("").unwrap(), Rules::built_in());
        let changed = parse(
            "[rules.export]\nlimit = 7\ndry_run = true\n[rules.search]\nenabled = false\n[rules.bulk]\nrecords = '/a~1b/c'",
        )
        .unwrap();
        assert!(changed.get("search").is_none());
        let export = Rules::built_in().get("export").cloned().unwrap();
        assert_eq!(changed.get("export"), Some(&Rule { limit: 7, is_dry_run: true, ..export }));
        let bulk = Bulk { max_records: 100, records: Some(vec!["a/b".to_owned(), "c".to_owned()]) };
        assert_eq!(changed.get("bulk").unwrap().bulk, Some(bulk));
    }

    #[test]
    fn a_rule_of_the_operators_own_says_where_it_applies_and_what_it_admits() {
        let rules = parse(
            "[paths]\ncase_sensitive = true\n[rules.reports]\nendpoints = ['GET /reports/*', '* /:x/report']\n\
             limit = 3\nwindow_seconds = 60\nshared = false\ncost = 5\nmax_records = 9",
        )
        .unwrap();
        assert!(rules.case_sensitive);
        assert_eq!(
            rules.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(),
            ["bulk", "export", "reports", "search"]
        );
        let rule = rules.get("reports").unwrap();
        assert_eq!((rule.limit, rule.window_seconds, rule.is_shared, rule.cost), (3, 60, false, 5));
        assert_eq!(rule.bulk, Some(Bulk { max_records: 9, records: None }));
        assert_eq!(rule.endpoints[1].to_string(), "* /:x/report");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("[rules.a]\nlimit = 1", "f.toml:1: rules.a.endpoints: missing; write endpoints such as"),
            ("[rules.a]\nendpoints = ['GET /a']", "f.toml:1: rules.a.limit: missing"),
            ("[rules.search]\nendpoints = []", "f.toml:2: rules.search.endpoints: empty"),
            (
                "[rules.search]\nendpoints = ['GET a']",
                "f.toml:2: rules.search.endpoints: \"GET a\" is not an endpoint",
            ),
            (
                "[rules.search]\nendpoints = ['GET /a', 'get /a']",
                "f.toml:2: rules.search.endpoints: GET /a is listed twice",
            ),
            ("[rules.search]\nlimit = 0", "f.toml:2: rules.search.limit: 0 is out of range"),
            (
                "[rules.search]\nwindow_seconds = 86401",
                "f.toml:2: rules.search.window_seconds: 86401 is out of range",
            ),
            (
                "[rules.search]\nrecords = '/x'",
                "f.toml:2: rules.search.records: of no use without max_records",
            ),
            ("[rules.bulk]\nrecords = 'x'", "f.toml:2: rules.bulk.records: \"x\" is not a JSON pointer"),
            ("[rules.hour]\nendpoints = ['GET /a']\nlimit = 1", "f.toml:1: rules.hour: \"hour\" is what"),
            (
                "[rules.'a b']\nendpoints = ['GET /a']\nlimit = 1",
                "f.toml:1: rules.a b: \"a b\" cannot be a name",
            ),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
