//! Which rules apply to a request.

use super::endpoint::Segment;
use super::path::{self, BadTarget, Room};
use super::{Endpoint, Rule, Rules};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The number of the window that is the hour.
pub const HOUR: u32 = 0;

/// A rule that applies to a request.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Which window of a key the request counts in.
    pub window: u32,
    /// Which of the rule's endpoints it is.
    pub endpoint: usize,
    /// Whether every request counts in it.
    pub is_everywhere: bool,
    /// What came of the requests of all keys.
    pub counts: Arc<Counts>,
}

impl Applied {
    /// The endpoint that the request is of.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.rule.endpoints.get(self.endpoint)
    }

    /// What the window is called: the rule's name, and the endpoint's if it has one of its own.
    pub fn window_name(&self) -> String {
        match self.endpoint().filter(|_| !self.rule.is_shared) {
            Some(endpoint) => format!("{} {endpoint}", self.rule.name),
            None => self.rule.name.clone(),
        }
    }
}

/// Requests by what a rule found.
#[derive(Debug, Default)]
pub struct Counts {
    /// Admitted, by a dry run too.
    pub admitted: AtomicU64,
    /// Refused because the window was used up.
    pub refused: AtomicU64,
    /// Admitted by a dry run, which would have been refused.
    pub observed: AtomicU64,
}

/// The rules by endpoint.
///
/// A router finds one route for a path, and a request may be under several rules. So endpoints that a request can
/// be of at once are in different *layers*, each of which is a router that is asked. Where no endpoints overlap
/// there is one layer.
pub struct Router {
    rules: Rules,
    layers: Vec<Layer>,
    /// What the routes lead to: the endpoints of a rule stand together.
    targets: Vec<Applied>,
    everywhere: Vec<Applied>,
    /// The windows' numbers and counts, by name. They outlive their rules: keys may have requests in them.
    windows: BTreeMap<String, (u32, Arc<Counts>)>,
}

#[derive(Default)]
struct Layer {
    endpoints: Vec<Endpoint>,
    /// Indices of targets.
    routes: matchit::Router<usize>,
}

impl Router {
    /// The router of `rules`, which follows `previous`: windows of the same names are the same.
    pub fn new(rules: &Rules, previous: Option<&Self>) -> Self {
        let windows = previous.map_or_else(BTreeMap::new, |previous| previous.windows.clone());
        let (layers, targets, everywhere) = (Vec::new(), Vec::new(), Vec::new());
        let mut router = Self { rules: rules.clone(), layers, targets, everywhere, windows };
        for rule in &rules.rules {
            let rule = Arc::new(rule.clone());
            for (index, endpoint) in rule.endpoints.iter().enumerate() {
                let (window, counts) = router.window(&rule, endpoint);
                let is_everywhere = endpoint.is_everything();
                let applied = Applied { rule: rule.clone(), window, endpoint: index, is_everywhere, counts };
                router.add(endpoint, applied);
            }
        }
        router.everywhere = router.targets.iter().filter(|applied| applied.is_everywhere).cloned().collect();
        router
    }

    /// The rules that it was made of.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The rules that apply to every request.
    pub fn everywhere(&self) -> &[Applied] {
        &self.everywhere
    }

    /// One of each window's rules, in the order of their names.
    pub fn windows(&self) -> Vec<Applied> {
        let mut windows = self.targets.clone();
        windows.dedup_by_key(|applied| applied.window);
        windows
    }

    /// The rules that apply to a request of `method` whose target is `target`, a path with or without a query; in
    /// the order of their names.
    pub fn matching(&self, room: &mut Room, method: &str, target: &str) -> Result<Vec<Applied>, BadTarget> {
        let mut found = Vec::new();
        path::each_reading(room, counted_as(method), target, self.rules.case_sensitive, |reading| {
            let routes = self.layers.iter().filter_map(|layer| layer.routes.at(reading).ok());
            found.extend(routes.map(|route| *route.value));
        })?;
        found.sort_unstable();
        let mut applied: Vec<_> =
            found.into_iter().filter_map(|index| self.targets.get(index)).cloned().collect();
        applied.dedup_by_key(|applied| applied.window);
        Ok(applied)
    }

    fn window(&mut self, rule: &Rule, endpoint: &Endpoint) -> (u32, Arc<Counts>) {
        let name = if rule.is_shared { rule.name.clone() } else { format!("{} {endpoint}", rule.name) };
        let next = HOUR + 1 + u32::try_from(self.windows.len()).unwrap_or(u32::MAX);
        self.windows.entry(name).or_insert_with(|| (next, Arc::default())).clone()
    }

    fn add(&mut self, endpoint: &Endpoint, applied: Applied) {
        let endpoint = if self.rules.case_sensitive { endpoint.clone() } else { endpoint.to_lower() };
        let index = self.targets.len();
        self.targets.push(applied);
        if self.layers.iter_mut().any(|layer| layer.add(&endpoint, index)) {
            return;
        }
        let mut layer = Layer::default();
        let is_added = layer.add(&endpoint, index);
        debug_assert!(is_added, "an empty router takes every route");
        self.layers.push(layer);
    }
}

impl Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Layer {
    /// Adds a route to the target `index`; false, and nothing added, if it overlaps or conflicts with another.
    fn add(&mut self, endpoint: &Endpoint, index: usize) -> bool {
        if self.endpoints.iter().any(|other| other.overlaps(endpoint)) {
            return false;
        }
        let mut routes = self.routes.clone();
        let is_added = self::routes(endpoint).iter().all(|route| routes.insert(route, index).is_ok());
        if is_added {
            self.routes = routes;
            self.endpoints.push(endpoint.clone());
        }
        is_added
    }
}

/// HEAD counts as GET.
fn counted_as(method: &str) -> &str {
    if method.eq_ignore_ascii_case("HEAD") { "GET" } else { method }
}

/// An endpoint as the router has it: the method is the first part. Everything below a path includes the path.
fn routes(endpoint: &Endpoint) -> Vec<String> {
    let mut route = format!("/{}", endpoint.method.as_deref().unwrap_or("{method}"));
    for (number, segment) in endpoint.segments.iter().enumerate() {
        match segment {
            Segment::Literal(text) => {
                route = format!("{route}/{}", text.replace('{', "{{").replace('}', "}}"))
            }
            Segment::Any(_) => route = format!("{route}/{{part{number}}}"),
        }
    }
    let below = endpoint.is_prefix.then(|| format!("{route}/{{*rest}}"));
    std::iter::once(route).chain(below).collect()
}
