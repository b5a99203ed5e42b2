use super::endpoint::Segment;
use super::*;
use proptest::prelude::*;

fn rule(name: &str, endpoints: &[&str]) -> Rule {
    Rule {
        name: name.to_owned(),
        endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
        limit: 1,
        window_seconds: 60,
        is_shared: true,
        cost: 1,
        bulk: None,
        is_dry_run: false,
    }
}

fn rules(rules: Vec<Rule>, case_sensitive: bool) -> Rules {
    Rules { rules, case_sensitive }
}

fn matching(router: &Router, method: &str, target: &str) -> Result<Vec<String>, BadTarget> {
    let applied = router.matching(&mut Room::default(), method, target)?;
    Ok(applied.into_iter().map(|applied| applied.rule.name.clone()).collect())
}

#[track_caller]
fn assert_matches(router: &Router, method: &str, target: &str, expected: &[&str]) {
    assert_eq!(matching(router, method, target).unwrap(), expected, "{method} {target}");
}

#[test]
fn the_guides_rules() {
    let router = Router::new(&Rules::built_in(), None);
    for (method, target, expected) in [
        ("POST", "/courses/7/export", "export"),
        ("POST", "/courses/7/export?format=csv", "export"),
        ("POST", "/students/bulk", "bulk"),
        ("POST", "/enrollments/bulk", "bulk"),
        ("GET", "/search/students?q=/../x", "search"),
        ("GET", "/search/a/b/c", "search"),
        ("GET", "/search?q=a", "search"),
        ("HEAD", "/search/students", "search"),
        ("get", "/search/students", "search"),
    ] {
        assert_matches(&router, method, target, &[expected]);
    }
    for (method, target) in [
        ("GET", "/courses/7/export"),
        ("POST", "/courses/export"),
        ("POST", "/courses/7/8/export"),
        ("POST", "/courses/7/export/more"),
        ("POST", "/search/students"),
        ("GET", "/searching"),
        ("GET", "/"),
        ("OPTIONS", "*"),
    ] {
        assert_matches(&router, method, target, &[]);
    }
}

#[test]
fn no_spelling_evades_a_rule() {
    let router = Router::new(&Rules::built_in(), None);
    for target in [
        "//courses//7///export",
        "/courses/7/export/",
        "/courses/7/export//?x",
        "/./courses/x/../7/export/.",
        "/x/../courses/7/export",
        "/../courses/7/export",
        "/x//../courses/7/export",
        "//host/courses/7/export",
        "///host/courses/7/export",
        "/c%6Furses/7/%65xport",
        "/%63%6f%75%72%73%65%73/7/export",
        "/c%256Furses/7/export",
        "/c%25%36Furses/7/export",
        "/courses/%2e%2e/courses/7/export",
        "/courses/%252e%252E/courses/7/export",
        "/courses%2F7%2fexport",
        "/courses%252F7/export",
        "/courses\\7\\export",
        "/courses%5C7/export",
        "/courses;v=1/7;a;b/export;x",
        "/courses/7/export%3Bx",
        "/COURSES/7/Export",
        "/courses/a%2Fb/export",
        "/courses/a%5cb/export",
        "/courses/a;b/export",
    ] {
        assert_matches(&router, "POST", target, &["export"]);
    }
    // A server that takes dots for names has this search, and one that does not has it elsewhere.
    for target in
        ["/search/../x", "/search/%2e%2e/x", "/search//../x", "/x//..//search/../search", "/SEARCH/"]
    {
        assert_matches(&router, "GET", target, &["search"]);
    }
}

#[test]
fn what_depends_on_who_looks_first_is_looked_at_by_all() {
    let router = Router::new(&Rules::built_in(), None);
    for target in [
        "/a%2Fb/../courses/7/export",
        "/a%2Fb/../../courses/7/export",
        "/a%2Fb%2Fc/../%2e%2e%2Fcourses/7/export",
        "/a\\..\\courses/7/export",
        "/x/..;a/courses/7/export",
        "/x/..%2Fcourses/7/export",
        "/a/%2e%2e/../courses/7/export",
        "/a/courses/x/%2e%2e/../%2e%2e/../courses/7/export",
        "/courses;b%2Fc/7/export",
        "/courses;b%2Fc/7%2Fexport",
    ] {
        assert_matches(&router, "POST", target, &["export"]);
    }
}

#[test]
fn what_nobody_sends_in_good_faith_is_refused() {
    let router = Router::new(&Rules::built_in(), None);
    let long = format!("/{}/../courses/7/export", "a".repeat(9_000));
    let many = "/a%2F..\\b;c%2f../%2e%2e//..\\;d/..%2Fe%5C..;f/%2e.//g";
    for target in ["/courses/7/export#x", "/courses/7/export%00", "/courses/7/export%2500", &long, many] {
        assert_eq!(matching(&router, "POST", target), Err(BadTarget), "{target}");
    }
    // Without anything odd a path may be as long as a head can be.
    assert_matches(&router, "GET", &format!("/search/{}", "a".repeat(60_000)), &["search"]);
    // Behind the question mark everything is allowed.
    assert_matches(&router, "GET", "/search?a=%2F..;\\#%00", &["search"]);
}

#[test]
fn all_rules_that_apply_are_found() {
    let rules = rules(
        vec![
            rule("all", &["* /*"]),
            rule("each", &["GET /a/:x", "GET /:y/b"]),
            rule("exact", &["GET /a/b"]),
            rule("below", &["GET /a/*"]),
            rule("root", &["GET /"]),
        ],
        true,
    );
    let router = Router::new(&rules, None);
    assert_matches(&router, "GET", "/a/b", &["all", "each", "exact", "below"]);
    assert_matches(&router, "GET", "/a", &["all", "below"]);
    assert_matches(&router, "GET", "/c/b", &["all", "each"]);
    assert_matches(&router, "PUT", "/a/b", &["all"]);
    assert_matches(&router, "GET", "/", &["all", "root"]);
    assert_matches(&router, "GET", "/A/b", &["all", "each"]);
    assert_matches(&router, "OPTIONS", "*", &["all"]);
}

#[test]
fn endpoints_share_a_window_or_have_their_own() {
    let endpoints = ["GET /a/:x", "GET /:x/b"];
    let mut own = rule("own", &endpoints);
    own.is_shared = false;
    let router = Router::new(&rules(vec![own, rule("shared", &endpoints)], true), None);
    let windows = |router: &Router, target| {
        let applied = router.matching(&mut Room::default(), "GET", target).unwrap();
        applied.iter().map(|applied| applied.window).collect::<Vec<_>>()
    };
    let (both, one, other) = (windows(&router, "/a/b"), windows(&router, "/a/x"), windows(&router, "/x/b"));
    assert_eq!((both.len(), one.len(), other.len()), (3, 2, 2));
    assert_eq!(both, [one[0], other[0], one[1]]);
    assert_eq!(one[1], other[1]);
    // A window keeps its number over every change of the rules.
    let next =
        Router::new(&rules(vec![rule("a", &["GET /a/b"]), rule("shared", &endpoints)], true), Some(&router));
    assert_eq!(windows(&next, "/a/b")[1], both[2]);
    assert!(!both.contains(&windows(&next, "/a/b")[0]));
}

#[test]
fn endpoints_are_read_and_written() {
    for text in ["POST /courses/:id/export", "GET /search/*", "* /*", "* /", "GET /a{b}c/:x/*"] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
    assert_eq!("get   /a".parse::<Endpoint>().unwrap().to_string(), "GET /a");
    for (text, why) in [
        ("/a", "a method, a space and a path"),
        ("GET a", "starts with a slash"),
        ("HEAD /a", "HEAD counts as GET"),
        ("G(T /a", "is not a method"),
        ("GET /a/", "an empty part"),
        ("GET //a", "an empty part"),
        ("GET /a/../b", "never reaches"),
        ("GET /a%20b", "has one of"),
        ("GET /a?b", "has one of"),
        ("GET /*/a", "has one of"),
        ("GET /a*", "has one of"),
        ("GET /:", "a name has to follow"),
    ] {
        let told = text.parse::<Endpoint>().unwrap_err();
        assert!(told.contains(why) && told.contains(text), "{told}");
    }
}

/// The definition: part by part.
fn applies(endpoint: &Endpoint, method: &str, parts: &[&str]) -> bool {
    let has_length =
        parts.len() == endpoint.segments.len() || parts.len() > endpoint.segments.len() && endpoint.is_prefix;
    let is_same = |(segment, part): (&Segment, &&str)| match segment {
        Segment::Literal(text) => text == part,
        Segment::Any(_) => true,
    };
    endpoint.method.as_deref().is_none_or(|other| other == method)
        && has_length
        && endpoint.segments.iter().zip(parts).all(is_same)
}

fn endpoint() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => "[ab]", 2 => Just(":x".to_owned()), 1 => "[ab]{2}|a-b|\\{a"];
    let parts = prop::collection::vec(part, 0..4);
    (prop_oneof![Just("GET"), Just("POST"), Just("*")], parts, any::<bool>()).prop_map(
        |(method, parts, is_prefix)| {
            let path: String = parts.iter().map(|part| format!("/{part}")).collect();
            let path = if is_prefix || path.is_empty() {
                format!("{path}/{}", if is_prefix { "*" } else { "" })
            } else {
                path
            };
            format!("{method} {path}")
        },
    )
}

/// A way to write a part without changing what it says.
fn spelt(part: &str, choices: &[u8]) -> String {
    let letters = part.bytes().zip(choices.iter().cycle());
    letters
        .map(|(byte, choice)| match choice % 4 {
            0 => format!("%{byte:02x}"),
            1 => format!("%{byte:02X}"),
            2 => format!("%25{byte:02x}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}

proptest! {
    /// The layers of routers find what a look at each endpoint finds.
    #[test]
    fn the_router_agrees_with_the_definition(
        endpoints in prop::collection::vec(endpoint(), 1..12),
        requests in prop::collection::vec(("GET|POST|PUT", prop::collection::vec("[ab]{1,2}|a-b|\\{a|c", 0..5)), 1..20),
    ) {
        let named = |(index, text): (usize, &String)| rule(&format!("{index:02}"), &[text]);
        let rules = rules(endpoints.iter().enumerate().map(named).collect(), true);
        let router = Router::new(&rules, None);
        for (method, parts) in requests {
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            let target = format!("/{}", parts.join("/"));
            let expected = rules.rules.iter().filter(|rule| applies(&rule.endpoints[0], &method, &parts));
            let expected: Vec<_> = expected.map(|rule| rule.name.clone()).collect();
            prop_assert_eq!(matching(&router, &method, &target).unwrap(), expected, "{} {}", method, target);
        }
    }

    /// However a path is spelt, the rules that apply to it apply.
    #[test]
    fn every_spelling_has_the_rules_of_the_path(
        endpoints in prop::collection::vec(endpoint(), 1..8),
        parts in prop::collection::vec("[abAB]{1,2}|a-b|c", 0..5),
        choices in prop::collection::vec(any::<u8>(), 1..30),
        oddities in prop::sample::subsequence(vec![1, 2, 3, 4], 0..3),
    ) {
        let named = |(index, text): (usize, &String)| rule(&format!("{index:02}"), &[text]);
        let router = Router::new(&rules(endpoints.iter().enumerate().map(named).collect(), false), None);
        let plain = matching(&router, "GET", &format!("/{}", parts.join("/"))).unwrap();
        let mut target = String::new();
        for (part, choice) in parts.iter().zip(choices.iter().cycle()) {
            let slash = match choice % 8 {
                0 if oddities.contains(&1) => "%2f",
                1 if oddities.contains(&2) => "\\",
                2 if oddities.contains(&3) => "/./",
                3 if oddities.contains(&3) => "/x/../",
                4 if oddities.contains(&3) => "//%2E/",
                5 => "//",
                _ => "/",
            };
            // The target of a request starts with a slash.
            target.push_str(if target.is_empty() { "/" } else { slash });
            target.push_str(&spelt(part, &choices));
            target.push_str(if oddities.contains(&4) && choice % 2 == 0 { ";p=1" } else { "" });
        }
        target.push_str(if choices[0] % 2 == 0 { "/?q" } else { "?q=/../" });
        if !target.starts_with('/') { target.insert(0, '/'); }
        let found = matching(&router, "GET", &target);
        prop_assume!(found.is_ok(), "too odd, and refused");
        let found = found.unwrap();
        prop_assert!(plain.iter().all(|rule| found.contains(rule)), "{}: {:?}, not {:?}", target, found, plain);
    }

    /// Whatever is sent is read or refused.
    #[test]
    fn nothing_breaks_it(target in "(%[0-9a-f]{2}|%25|[/\\\\.;?#a]|\\PC){0,60}") {
        let router = Router::new(&Rules::built_in(), None);
        let _ = matching(&router, "POST", &target);
    }
}
