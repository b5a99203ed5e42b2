//! Where and how a key is found in a head.

use crate::frames::request;
use crate::host::{Host, KEY, OTHER_KEY, OTHER_SLOT, SLOT};
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;

fn head(fields: &str) -> String {
    format!("GET /courses HTTP/1.1\r\nHost: a\r\n{fields}\r\nAccept: */*\r\n\r\n")
}

#[test]
fn a_key_is_found_at_every_position_of_a_segment() {
    let mut host = Host::new(Action::Drop, 10_000_000);
    for pad in 0..1_330_usize {
        let path = "x".repeat(pad);
        let head = format!("GET /{path} HTTP/1.1\r\nX-API-Key: {KEY}\r\n\r\n");
        assert_eq!(host.outcome_of_payload(head), Outcome::Admitted, "after {pad} bytes of path");
        let head = request(pad, &format!("Authorization: Bearer {KEY}"));
        assert_eq!(host.outcome_of_payload(head), Outcome::Admitted, "after {pad} bytes of fields");
    }
}

#[test]
fn spellings_of_a_field_that_the_proxy_takes_are_taken() {
    let mut host = Host::new(Action::Drop, 100);
    for field in [
        format!("X-API-Key: {KEY}"),
        format!("x-api-key: {KEY}"),
        format!("X-ApI-kEY: {KEY}"),
        format!("X-API-Key:{KEY}"),
        format!("X-API-Key:\t{KEY}"),
        format!("Authorization: Bearer {KEY}"),
        format!("AUTHORIZATION: bearer {KEY}"),
        format!("authorization:BEARER {KEY}"),
        format!("X-Other: 1\r\nX-API-Key: {KEY}"),
        // Nothing but a line feed ends a line: RFC 9112, section 2.2 lets a recipient take it.
        format!("X-Other: 1\nX-API-Key: {KEY}\nX-Third: 1"),
    ] {
        let before = host.slot(SLOT).admitted.load();
        assert_eq!(host.outcome_of_payload(head(&field)), Outcome::Admitted, "{field:?}");
        assert_eq!(host.slot(SLOT).admitted.load(), before + 1);
    }
    assert_eq!(host.slot(OTHER_SLOT).admitted.load(), 0);
}

#[test]
fn spellings_that_only_the_proxy_judges_are_passed() {
    let mut host = Host::new(Action::Drop, 100);
    for (field, expected) in [
        (format!("X-API-Key:  {KEY}"), Outcome::Unusual),
        (format!("X-API-Key: {KEY} "), Outcome::Unusual),
        (format!("X-API-Key: {KEY}\tx"), Outcome::Unusual),
        (format!("X-API-Key : {KEY}"), Outcome::Unusual),
        (format!("X-API-Key-Id: {KEY}"), Outcome::Unusual),
        ("X-API-Key: ".into(), Outcome::Unusual),
        (format!("X-API-Key: \r\n {KEY}"), Outcome::Unusual),
        (format!("X-API-Key: {KEY}\rX: 1"), Outcome::Unusual),
        (format!("Authorization: Basic {KEY}"), Outcome::Unusual),
        (format!("Authorization: Bearer  {KEY}"), Outcome::Unusual),
        (format!("Authorization: Bearer\t{KEY}"), Outcome::Unusual),
        ("Authorization: Bearer".into(), Outcome::Unusual),
        (format!("X-API-Kex: {KEY}"), Outcome::Unusual),
        (format!("X-Apx-Key: {KEY}"), Outcome::NoKey),
        (format!(" X-API-Key: {KEY}"), Outcome::NoKey),
        (format!("Cookie: X-API-Key: {KEY}"), Outcome::NoKey),
        (format!("X-API-Key: {}", "k".repeat(65)), Outcome::KeyCut),
        (format!("X-API-Key: {KEY}x"), Outcome::UnknownKey),
        (format!("X-API-Key: {}", &KEY[1..]), Outcome::UnknownKey),
        (format!("X-API-Key: {}", KEY.to_lowercase()), Outcome::UnknownKey),
        ("X-API-Key: k".into(), Outcome::UnknownKey),
    ] {
        assert_eq!(host.outcome_of_payload(head(&field)), expected, "{field:?}");
    }
    assert_eq!(host.charged(), 0);
}

#[test]
fn the_first_of_two_keys_is_charged() {
    let mut host = Host::new(Action::Drop, 100);
    let fields = format!("X-API-Key: {OTHER_KEY}\r\nAuthorization: Bearer {KEY}");
    assert_eq!(host.outcome_of_payload(head(&fields)), Outcome::Admitted);
    assert_eq!((host.slot(SLOT).admitted.load(), host.slot(OTHER_SLOT).admitted.load()), (0, 1));
}

#[test]
fn a_body_holds_no_key() {
    let mut host = Host::new(Action::Drop, 100);
    for body in [format!("X-API-Key: {KEY}\r\n\r\n"), format!("a\r\nX-API-Key: {KEY}\r\n\r\n")] {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            let request = format!("POST /students HTTP/1.1\r\nHost: a{end}{body}");
            assert_eq!(host.outcome_of_payload(request.as_str()), Outcome::NoKey, "{request:?}");
        }
    }
    assert_eq!(host.charged(), 0);
}

#[test]
fn a_head_split_at_any_byte_is_never_charged_to_another_key() {
    let mut host = Host::new(Action::Drop, 100);
    // A key that begins like the other one: a cut must not turn the longer into the shorter.
    let short = &KEY[..16];
    host.add_key(short, 2, 100);
    let whole = head(&format!("X-API-Key: {KEY}"));
    let end_of_key = whole.find(KEY).expect("the key") + KEY.len();
    let mut charged = 0;
    for cut in 5..whole.len() {
        let outcome = host.outcome_of_payload(&whole[..cut]);
        if cut < end_of_key + 2 {
            assert!(matches!(outcome, Outcome::NoKey | Outcome::KeyCut), "cut at {cut}: {outcome:?}");
        } else {
            assert_eq!(outcome, Outcome::Admitted, "cut at {cut}");
            charged += 1;
        }
        assert_eq!(host.outcome_of_payload(&whole[cut..]), Outcome::NotRequest, "the rest from {cut}");
    }
    assert_eq!((host.slot(2).admitted.load(), host.slot(SLOT).admitted.load()), (0, charged));
}

#[test]
fn a_key_may_have_up_to_64_bytes() {
    let mut host = Host::new(Action::Drop, 100);
    for len in 1..=64 {
        let key = "k".repeat(len);
        host.add_key(&key, 2, 10_000_000);
        let head = head(&format!("X-API-Key: {key}"));
        assert_eq!(host.outcome_of_payload(head), Outcome::Admitted, "{len} bytes");
    }
    assert_eq!(host.slot(2).admitted.load(), 64);
}

#[test]
fn a_key_that_ends_with_the_segment_is_read() {
    let mut host = Host::new(Action::Drop, 100);
    for len in 8..=64 {
        let key = "e".repeat(len);
        host.add_key(&key, 2, 10_000_000);
        let head = format!("GET / HTTP/1.1\r\nX-API-Key: {key}\r\n");
        assert_eq!(host.outcome_of_payload(head), Outcome::Admitted, "{len} bytes");
    }
}

#[test]
fn methods_are_told_from_other_payloads() {
    let mut host = Host::new(Action::Drop, 100);
    let rest = format!(" /courses HTTP/1.1\r\nX-API-Key: {KEY}\r\n\r\n");
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(host.outcome_of_payload(format!("{method}{rest}")), Outcome::Admitted, "{method}");
    }
    for method in ["get", "TRACE", "CONNECT", "\r\nGET", "FOO"] {
        assert_eq!(host.outcome_of_payload(format!("{method}{rest}")), Outcome::NotRequest, "{method}");
    }
}
