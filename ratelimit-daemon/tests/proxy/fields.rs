//! The fields that tell a client how its limits stand, on every response.

use crate::client::Response;
use crate::host::{BURST, HOURLY, Host, KEY, PROFESSIONAL};
use crate::origin::{Origin, reply};
use ratelimit_daemon::clock;

const RATE_FIELDS: [&str; 5] =
    ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit"];

fn assert_has_rate_fields(response: &Response) {
    for name in RATE_FIELDS {
        assert!(response.spells(name), "{name} in {response:?}");
        assert_eq!(response.all(name).len(), 1, "{name} in {response:?}");
    }
    assert_eq!(items(response, "RateLimit-Policy", ["q", "w"]), items(response, "RateLimit", ["r", "t"]));
}

/// The limits that a structured field (RFC 9651) lists by their names, each with these two numbers.
fn items(response: &Response, field: &str, numbers: [&str; 2]) -> Vec<String> {
    let list: sfv::List = sfv::Parser::new(response.field(field)).parse().expect("a list");
    let item = |entry: &sfv::ListEntry| {
        let sfv::ListEntry::Item(item) = entry else { panic!("{entry:?} in {response:?}") };
        let names: Vec<_> = item.params.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, numbers, "{response:?}");
        assert!(item.params.values().all(|value| value.as_integer().is_some()), "{response:?}");
        item.bare_item.as_string().expect("a string").as_str().to_owned()
    };
    list.iter().map(item).collect()
}

#[test]
fn a_success_tells_how_the_limits_stand() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let before = clock::unix_seconds();
    let response = host.get("/courses", PROFESSIONAL);
    let after = clock::unix_seconds();
    assert_eq!((response.status, response.text()), (200, "/courses"));
    assert_has_rate_fields(&response);
    assert_eq!(response.number("X-RateLimit-Limit"), 1_000);
    assert_eq!(response.number("X-RateLimit-Remaining"), 999);
    // The window is a second late, and both are rounded up.
    let reset = response.number("X-RateLimit-Reset");
    assert!((before + 3_600..=after + 3_602).contains(&reset), "{reset} from {before}");
    assert_eq!(response.field("RateLimit-Policy"), r#""burst";q=100;w=60, "hour";q=1000;w=3600"#);
    assert_eq!(response.left_of("burst"), 99);
    assert_eq!(response.left_of("hour"), 999);
    assert!(response.field("RateLimit").starts_with(r#""burst";r=99;t=1, "hour";r=999;t=36"#));
    assert!(response.all("Retry-After").is_empty());
    assert_eq!(host.get("/", PROFESSIONAL).number("X-RateLimit-Remaining"), 998);
}

#[test]
fn an_endpoints_rule_is_one_more_item() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let response = host.get("/search/x", PROFESSIONAL);
    assert_has_rate_fields(&response);
    assert_eq!(items(&response, "RateLimit", ["r", "t"]), ["burst", "hour", "search"]);
}

#[test]
fn the_upstreams_own_errors_tell_it_too() {
    let origin = Origin::start(|head, stream| {
        let status = head.path().trim_start_matches('/').to_owned();
        reply(stream, &format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nno"))
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for status in [404, 429, 500, 503] {
        let response = client.get(&format!("/{status}"), PROFESSIONAL);
        assert_eq!((response.status, response.text()), (status, "no"));
        assert_has_rate_fields(&response);
    }
}

#[test]
fn the_upstreams_fields_of_the_same_names_are_replaced() {
    let origin = Origin::fixed(
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nx-ratelimit-limit: 7\r\nX-RATELIMIT-LIMIT: 8\r\n\
         X-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 7\r\nRateLimit: 7\r\nRateLimit-Policy: 7\r\n\
         Retry-After: 77\r\n\r\n",
    );
    let host = Host::start(origin.address);
    let response = host.get("/", PROFESSIONAL);
    assert_eq!(response.status, 503);
    assert_has_rate_fields(&response);
    assert_eq!(response.number("X-RateLimit-Limit"), 1_000);
    assert_eq!(response.left_of("hour"), 999);
    // This one is the upstream's own matter: we refused nothing.
    assert_eq!(response.number("Retry-After"), 77);
    let host = Host::with(origin.address, |config| config.headers.ratelimit_fields = false);
    let response = host.get("/", PROFESSIONAL);
    assert_eq!(response.number("X-RateLimit-Limit"), 1_000);
    assert!(response.all("RateLimit").is_empty() && response.all("RateLimit-Policy").is_empty());
}

#[test]
fn a_429_is_what_the_guide_says_to_the_byte() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    for _ in 0..BURST {
        assert_eq!(host.get("/", KEY).status, 200);
    }
    let before = clock::unix_seconds();
    let response = host.get("/", KEY);
    let after = clock::unix_seconds();
    assert_eq!(response.status, 429);
    assert_has_rate_fields(&response);
    // The hour as it stands: the bucket alone refuses.
    assert_eq!(response.number("X-RateLimit-Limit"), 1_000);
    assert_eq!(response.number("X-RateLimit-Remaining"), 1_000 - u64::from(BURST));
    let wait = response.number("Retry-After");
    assert!((1..=20).contains(&wait), "{wait}");
    let reset = response.number("X-RateLimit-Reset");
    assert!((before + wait..=after + wait + 1).contains(&reset), "{reset} from {before}, {wait}");
    assert_eq!(response.left_of("burst"), 0);
    assert_eq!(response.field("Content-Type"), "application/json");
    let expected = format!(
        r#"{{"error":{{"code":"rate_limit_exceeded","message":"API rate limit exceeded. Please retry after {wait} seconds.","retry_after":{wait}}}}}"#
    );
    assert_eq!(response.text(), expected);
    assert_eq!(response.number("Content-Length"), expected.len() as u64);
    let names: Vec<_> = response.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().all(|name| name.starts_with(|first: char| first.is_ascii_uppercase())), "{names:?}");
}

#[test]
fn an_hour_that_is_used_up_has_nothing_left_and_resets_after_the_wait() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let left: Vec<_> = (0..3).map(|_| client.get("/", HOURLY).number("X-RateLimit-Remaining")).collect();
    assert_eq!(left, [2, 1, 0]);
    let before = clock::unix_seconds();
    let response = client.get("/", HOURLY);
    assert_eq!((response.status, response.number("X-RateLimit-Remaining")), (429, 0));
    let wait = response.number("Retry-After");
    assert!((3_580..=3_601).contains(&wait), "{wait}");
    assert!(response.number("X-RateLimit-Reset") >= before + wait);
    // Refused by the hour, the bucket is not charged.
    assert_eq!(response.left_of("burst"), 97);
    assert_eq!(client.get("/", HOURLY).left_of("burst"), 97);
}
