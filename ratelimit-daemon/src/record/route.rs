//! What a path is called when requests are told apart by it: `GET /courses/:id`, not a million courses.
//!
//! A request under an endpoint rule is called by the rule's endpoint. Of any other path each part that looks like
//! somebody's number is `:id`. That is a guess, and only for people: limits are never judged by it.

use crate::rules::Applied;
use std::fmt::Write as _;

/// More parts than these are `*`.
const MOST_PARTS: usize = 6;

/// A longer part is taken for somebody's number.
const LONGEST_PART: usize = 32;

/// Methods that requests are told apart by.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Writes what a request of `method` with this `target` is called, to which `rules` apply; true if a rule's endpoint
/// says so, of which there are few.
pub(super) fn write_route(route: &mut String, method: &str, target: &str, rules: &[Applied]) -> bool {
    route.clear();
    let own = rules.iter().filter(|applied| !applied.is_everywhere);
    if let Some(endpoint) = own.filter_map(Applied::endpoint).next() {
        // Writing to a string does not fail.
        let _ = write!(route, "{endpoint}");
        return true;
    }
    // HEAD counts as GET.
    let method = if method == "HEAD" { "GET" } else { method };
    route.push_str(METHODS.into_iter().find(|known| *known == method).unwrap_or("*"));
    route.push(' ');
    let path = target.split(['?', '#', ';']).next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let start = route.len();
    for part in parts.by_ref().take(MOST_PARTS) {
        route.push('/');
        route.push_str(if is_number(part) { ":id" } else { part });
    }
    if parts.next().is_some() {
        route.push_str("/*");
    }
    if route.len() == start {
        route.push('/');
    }
    false
}

/// Whether a part of a path tells one thing from another of its kind: digits, a hash, a UUID, anything encoded.
fn is_number(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let is_plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    !is_plain || part.len() > LONGEST_PART || digits == part.len() || digits > 1 && part.len() >= 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Room, Router, Rules};

    fn route(method: &str, target: &str) -> String {
        let router = Router::new(&Rules::built_in(), None);
        let rules = router.matching(&mut Room::default(), method, target).unwrap();
        let mut route = "left over".to_owned();
        let is_endpoint = write_route(&mut route, method, target, &rules);
        assert_eq!(is_endpoint, !rules.is_empty());
        route
    }

    #[test]
    fn paths_that_differ_in_a_number_are_one_route() {
        for (method, target, expected) in [
            ("GET", "/", "GET /"),
            ("GET", "/courses?per_page=1", "GET /courses"),
            ("HEAD", "//courses/17/", "GET /courses/:id"),
            ("DELETE", "/v1/students/3f0c9a7e-1b52-4c55-9d1c-0a6f3f1b2c3d", "DELETE /v1/students/:id"),
            ("GET", "/files/a%2fb/c", "GET /files/:id/c"),
            ("GET", "/oauth2/token", "GET /oauth2/token"),
            ("GET", "/<script>", "GET /:id"),
            ("BREW", "/a/b/c/d/e/f/g", "* /a/b/c/d/e/f/*"),
        ] {
            assert_eq!(route(method, target), expected);
        }
    }

    #[test]
    fn a_request_under_a_rule_is_called_by_its_endpoint() {
        assert_eq!(route("POST", "/courses/77/export"), "POST /courses/:id/export");
        assert_eq!(route("GET", "/search/students?q=x"), "GET /search/*");
    }
}
