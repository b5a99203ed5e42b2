//! Endpoint rules, through the proxy.

use crate::host::{Host, KEY, PROFESSIONAL};
use crate::origin::Origin;
use ratelimit_daemon::clock;
use ratelimit_daemon::config::Action;

#[test]
fn an_endpoint_has_its_own_limit_beside_the_hour() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for number in 1..=10 {
        let response = client.ask("POST", "/courses/7/export", PROFESSIONAL);
        assert_eq!((response.status, response.number("X-RateLimit-Limit")), (200, 10));
        assert_eq!(response.number("X-RateLimit-Remaining"), 10 - number);
        assert_eq!((response.left_of("hour"), response.left_of("export")), (1_000 - number, 10 - number));
        let policy = r#""burst";q=100;w=60, "hour";q=1000;w=3600, "export";q=10;w=3600"#;
        assert_eq!(response.field("RateLimit-Policy"), policy);
    }
    let before = clock::unix_seconds();
    let response = client.ask("POST", "/courses/8/export", PROFESSIONAL);
    assert_eq!((response.status, response.code()), (429, "rate_limit_exceeded"));
    assert_eq!((response.number("X-RateLimit-Limit"), response.number("X-RateLimit-Remaining")), (10, 0));
    let wait = response.number("Retry-After");
    assert!((3_580..=3_601).contains(&wait), "{wait}");
    assert!(response.number("X-RateLimit-Reset") >= before + wait);
    // Nothing else was charged, and elsewhere nothing is said of the rule.
    assert_eq!((response.left_of("hour"), response.left_of("burst")), (990, 90));
    let response = client.get("/courses/7", PROFESSIONAL);
    assert_eq!(
        (response.status, response.number("X-RateLimit-Limit"), response.left_of("hour")),
        (200, 1_000, 989)
    );
    assert!(!response.field("RateLimit").contains("export"));
    assert_eq!(origin.heads().len(), 11);
}

#[test]
fn however_a_path_is_spelt_it_counts_and_goes_on_as_it_was_sent() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let spellings = [
        "/courses/7/export",
        "//courses/7///export/",
        "/c%6Furses/7/%2565xport?x=/../",
        "/x/../courses/7/./export",
        "/%2e%2e/courses/7/export",
        "/courses%2F7/export",
        "/COURSES/7/Export;v=1",
        "/courses\\7\\export",
    ];
    for (number, spelling) in (1..).zip(spellings) {
        let response = client.ask("POST", spelling, PROFESSIONAL);
        assert_eq!((response.status, response.left_of("export")), (200, 10 - number), "{spelling}");
    }
    let absolute = client.ask("POST", "http://api.example/courses/7/export", PROFESSIONAL);
    assert_eq!(absolute.left_of("export"), 1);
    let seen: Vec<_> = origin.heads().iter().map(|head| head.path().to_owned()).collect();
    assert_eq!(seen[..8], spellings);
    assert_eq!(seen[8], "/courses/7/export");
}

#[test]
fn head_counts_as_get_and_a_method_in_small_letters_as_itself() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let host = Host::start(origin.address);
    let mut client = host.client();
    assert_eq!(client.ask("HEAD", "/search/x", PROFESSIONAL).left_of("search"), 99);
    assert_eq!(client.ask("get", "/search?q=x", PROFESSIONAL).left_of("search"), 98);
    assert!(!client.ask("POST", "/search/x", PROFESSIONAL).field("RateLimit").contains("search"));
}

#[test]
fn an_ambiguous_path_is_refused_and_charged_to_nothing() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    for path in ["/courses/7/export%00", "/courses/7/export#x"] {
        let response = host.client().ask("POST", path, KEY);
        assert_eq!((response.status, response.code()), (400, "bad_request"), "{path}");
        assert_eq!((response.left_of("burst"), response.left_of("hour")), (3, 1_000));
    }
    assert!(origin.heads().is_empty());
}

#[test]
fn a_dry_run_is_told_where_the_configuration_asks_for_it() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-RateLimit-Dry-Run: forged\r\n\r\n");
    let try_search = |config: &mut ratelimit_daemon::config::Config| {
        let search = config.rules.rules.iter_mut().find(|rule| rule.name == "search").expect("the rule");
        (search.is_dry_run, search.limit) = (true, 1);
    };
    let host = Host::with(origin.address, |config| {
        try_search(config);
        config.headers.dry_run = true;
    });
    assert!(host.get("/search/x", PROFESSIONAL).all("X-RateLimit-Dry-Run").is_empty());
    let response = host.get("/search/x", PROFESSIONAL);
    assert_eq!((response.status, response.field("X-RateLimit-Dry-Run")), (200, "search"));
    assert_eq!(response.number("X-RateLimit-Limit"), 1_000, "clients have no such limit yet");
    let host = Host::with(origin.address, try_search);
    let answers = [(); 2].map(|()| host.get("/search/x", PROFESSIONAL));
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.all("X-RateLimit-Dry-Run").is_empty())
    );
    let host = Host::with(origin.address, |config| {
        config.action = Action::Observe;
        config.headers.dry_run = true;
    });
    let mut client = host.client();
    let told: Vec<_> = (0..4).map(|_| client.get("/", KEY).all("X-RateLimit-Dry-Run").concat()).collect();
    assert_eq!(told, ["", "", "", "burst"]);
}
