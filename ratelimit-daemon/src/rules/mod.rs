//! Endpoint rules: limits of a key on some of the API's endpoints, beside its hour and its burst.
//!
//! A request is under every rule that has an endpoint for it, however its path is spelt: see [`path`].
#![forbid(unsafe_code)]

mod endpoint;
mod path;
mod router;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use path::{BadTarget, Room};
pub use router::{Applied, Counts, HOUR, Router};

/// The rules of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In the order of their names.
    pub rules: Vec<Rule>,
    /// Whether the API server takes `/Search` and `/search` for different paths.
    pub case_sensitive: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What people and the `RateLimit` fields call it.
    pub name: String,
    /// Where it applies: one endpoint or more.
    pub endpoints: Vec<Endpoint>,
    /// Requests of a key in any [`Self::window_seconds`], unless its tier or the key itself has another limit.
    pub limit: u32,
    /// Length of the window.
    pub window_seconds: u32,
    /// Whether the endpoints share the limit; else each has one of its own.
    pub is_shared: bool,
    /// How many requests one counts as against the hour and the burst.
    pub cost: u32,
    /// What a bulk request may hold; `None` for requests whose bodies are not looked at.
    pub bulk: Option<Bulk>,
    /// Whether it refuses nothing and counts what it would have refused.
    pub is_dry_run: bool,
}

/// The records of a bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Most records.
    pub max_records: u32,
    /// The names of the members that lead to the array of records; `None`: the body is the array, or an object
    /// with one array in it.
    pub records: Option<Vec<String>>,
}

impl Rules {
    /// The rules that need no configuration: the guide's.
    pub fn built_in() -> Self {
        let rule = |name: &str, endpoints: &[(&str, &str)], limit, max_records: Option<u32>| Rule {
            name: name.to_owned(),
            endpoints: endpoints
                .iter()
                .filter_map(|(method, path)| Endpoint::new(method, path).ok())
                .collect(),
            limit,
            window_seconds: 3_600,
            is_shared: true,
            cost: 1,
            bulk: max_records.map(|max_records| Bulk { max_records, records: None }),
            is_dry_run: false,
        };
        let bulk = [("POST", "/students/bulk"), ("POST", "/enrollments/bulk")];
        let rules = vec![
            rule("bulk", &bulk, 20, Some(100)),
            rule("export", &[("POST", "/courses/:id/export")], 10, None),
            rule("search", &[("GET", "/search/*")], 100, None),
        ];
        Self { rules, case_sensitive: false }
    }

    /// The rule called `name`.
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}
