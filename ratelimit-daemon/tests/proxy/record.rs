//! What the record says of requests is what became of them.

use crate::host::{DISABLED, HOURLY, Host, PROFESSIONAL};
use crate::origin::{Origin, reply};
use ratelimit_daemon::config::Missing;
use ratelimit_daemon::record::{Counts, Id, KEYLESS, Kind, Name, OTHER_ROUTES, Record, TOTAL};

/// The courses are there; one of them breaks the server; nothing else is there.
fn origin() -> Origin {
    Origin::start(|head, stream| {
        let status = match head.path() {
            "/courses/13" => "500 Internal Server Error",
            path if path.starts_with("/courses") || path.starts_with("/search") => "200 OK",
            _ => "404 Not Found",
        };
        reply(stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
    })
}

fn id(record: &Record, name: &Name) -> Id {
    record.subjects().names().find(|(known, _)| *known == name).expect("a name").1
}

fn counts(events: &[(Kind, u64)]) -> Counts {
    let mut counts = Counts::default();
    events.iter().for_each(|(kind, count)| counts.add(*kind, *count));
    counts
}

#[test]
fn each_request_is_counted_for_its_key_its_route_and_its_rule() {
    let origin = origin();
    let host = Host::with(origin.address, |config| config.proxy.workers = 1);
    let mut client = host.client();
    for path in ["/courses/1", "/courses/2?x=1", "/courses/13", "/wp-login.php", "/search/x", "/search/y"] {
        client.get(path, PROFESSIONAL);
    }
    (0..5).for_each(|_| drop(client.get("/courses/1", HOURLY)));
    assert_eq!(host.get("/courses", DISABLED).status, 401);
    assert_eq!(host.get("/courses", "a-key-of-nobody").status, 401);
    let record = host.record();
    let key = |name| record.subjects().keys().iter().find(|watched| watched.key.name == name).expect("a key");
    let sum = |id| record.sum(id, 3_600);
    let professional = counts(&[(Kind::Admitted, 6), (Kind::ServerError, 1)]);
    assert_eq!(sum(key(PROFESSIONAL).id), professional);
    assert_eq!(sum(key(HOURLY).id), counts(&[(Kind::Admitted, 3), (Kind::RefusedHour, 2)]));
    assert_eq!((key(HOURLY).used, key(HOURLY).admitted, key(HOURLY).refused), (3, 3, 2));
    assert_eq!(sum(KEYLESS), counts(&[(Kind::Rejected, 2)]));
    let mut all = counts(&[(Kind::Rejected, 2), (Kind::Admitted, 9), (Kind::RefusedHour, 2)]);
    all.add(Kind::ServerError, 1);
    assert_eq!((sum(TOTAL), record.since_start(TOTAL)), (all, all));
    // The first request on a route is not told apart, unless a rule names it: only then it is known that there is
    // something.
    let route = |name: &str| sum(id(&record, &Name::Route(name.to_owned())));
    let courses = [(Kind::Admitted, 5), (Kind::RefusedHour, 2), (Kind::ServerError, 1)];
    assert_eq!(route("GET /courses/:id"), counts(&courses));
    assert_eq!(route("GET /search/*"), counts(&[(Kind::Admitted, 2)]));
    assert_eq!(sum(OTHER_ROUTES), counts(&[(Kind::Admitted, 2), (Kind::Rejected, 2)]));
    assert_eq!(sum(id(&record, &Name::Rule("search".to_owned()))), counts(&[(Kind::Admitted, 2)]));
    let mut routes: Vec<_> = record.routes_of(key(HOURLY).id).map(|(_, counts)| *counts).collect();
    assert_eq!(routes.pop(), Some(counts(&[(Kind::Admitted, 3), (Kind::RefusedHour, 2)])));
    assert_eq!(record.waits().buckets.iter().sum::<u64>(), 9);
}

#[test]
fn an_upstream_that_is_not_there_is_counted() {
    let host = Host::with("127.0.0.1:1".parse().expect("an address"), |config| {
        config.keys.missing = Missing::Pass;
    });
    assert_eq!(host.get("/courses/1", PROFESSIONAL).status, 502);
    let mut client = host.client();
    client.send(b"GET /courses/1 HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert_eq!(client.read().status, 502);
    let record = host.record();
    assert_eq!(record.sum(KEYLESS, 60), counts(&[(Kind::Admitted, 1), (Kind::Unanswered, 1)]));
    assert_eq!(record.sum(TOTAL, 60), counts(&[(Kind::Admitted, 2), (Kind::Unanswered, 2)]));
    assert!(record.subjects().names().all(|(name, _)| matches!(name, Name::Rule(_))), "nothing is there");
}
