use super::*;
use crate::hash::hash_bytes;
use proptest::prelude::*;

const SECRET: Secret = Secret { k0: 3, k1: 4 };

fn fields() -> KeyFields {
    KeyFields { name: FieldName::new("X-API-Key").unwrap(), bearer: 1 }
}

fn found(head: &[u8]) -> Result<u64, Outcome> {
    key_hash(head, &fields(), SECRET)
}

/// The hashes of all keys in a complete head, by a parser of its own; `None` if it is no HTTP.
fn keys_by_httparse(head: &[u8]) -> Option<Vec<u64>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).ok()?;
    let bearer = |value: &[u8]| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.to_vec())
    };
    let keys = request.headers.iter().filter_map(|field| match field.name.to_ascii_lowercase().as_str() {
        "x-api-key" => Some(field.value.to_vec()),
        "authorization" => bearer(field.value),
        _ => None,
    });
    Some(keys.map(|key| hash_bytes(SECRET, &key)).collect())
}

/// Lines that are fields with keys, fields that almost are, and noise.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "(X-API-Key|x-api-key|X-Api-Key)[:]( |\t|  )?[!-~]{0,70}( |\t)?",
        "(Authorization|AUTHORIZATION): ?([Bb]earer|Basic) [!-~]{0,40}",
        "(X-API-Key-Id|X-API-Ke|Authorizatio|Cookie): [ -~]{0,60}",
        "[A-Za-z-]{1,12}: [ -~]{0,200}",
        "[ -~]{0,10}",
        "",
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![6 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let lines = prop::collection::vec((line(), end), 0..12);
    ("[!-~]{1,90}", lines).prop_map(|(path, lines)| {
        let mut head = format!("GET /{path} HTTP/1.1\r\n");
        lines.iter().for_each(|(line, end)| head.extend([line.as_str(), end]));
        head.push_str("\r\n");
        head.into_bytes()
    })
}

/// Whoever is in front of the host speaks first on such a connection, and the proxy decides.
#[test]
fn a_proxy_protocol_header_is_no_request() {
    let request = "GET / HTTP/1.1\r\nX-API-Key: abcdefgh\r\n\r\n";
    for header in ["PROXY TCP4 192.0.2.1 192.0.2.9 50000 80\r\n", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"] {
        assert!(!is_request((header.to_owned() + request).as_bytes()));
    }
    assert!(is_request(request.as_bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A key that is found is the first one that HTTP finds, and where HTTP finds none neither does this.
    #[test]
    fn finds_no_key_that_http_does_not_find_first(head in head()) {
        if let (Ok(hash), Some(keys)) = (found(&head), keys_by_httparse(&head)) {
            prop_assert_eq!(Some(&hash), keys.first());
        }
    }

    /// However a head is cut, what is found in its beginning is what is found in the whole.
    #[test]
    fn a_cut_finds_the_same_key_or_none(head in head(), cut in any::<prop::sample::Index>()) {
        if let Ok(hash) = found(&head[..cut.index(head.len())]) {
            prop_assert_eq!(found(&head), Ok(hash));
        }
    }

    #[test]
    fn a_plain_key_is_found_wherever_it_stands(before in prop::collection::vec("[A-Z][a-z]{7,30}: [!-~]{8,60}", 0..20), key in "[!-~]{1,64}") {
        prop_assume!(before.iter().map(|line| line.len() + 2).sum::<usize>() < MAX_SCAN - 256);
        let mut head = String::from("POST /students HTTP/1.1\r\n");
        before.iter().for_each(|line| head.extend([line, "\r\n"]));
        prop_assume!(keys_by_httparse(format!("{head}\r\n").as_bytes()) == Some(Vec::new()));
        head.push_str(&format!("X-API-Key: {key}\r\nHost: api.example.com\r\n\r\n"));
        prop_assert_eq!(found(head.as_bytes()), Ok(hash_bytes(SECRET, key.as_bytes())));
    }
}

#[test]
fn names_of_every_allowed_length_are_found() {
    for len in MIN_NAME..=MAX_NAME {
        let name = &"X-Customer-Access-Token-Key"[..len];
        let fields = KeyFields { name: FieldName::new(name).unwrap(), bearer: 0 };
        let head = |name: &str| {
            format!("GET / HTTP/1.1\r\nHost: a.example\r\n{name}: secret-key\r\nAccept: x\r\n\r\n")
        };
        let found = |name: &str| key_hash(head(name).as_bytes(), &fields, SECRET);
        assert_eq!(found(name), Ok(hash_bytes(SECRET, b"secret-key")), "{name}");
        assert_eq!(found(&name.to_uppercase()), found(name));
        assert!(found(&format!("{name}s")).is_err() && found(&name[1..]).is_err(), "{name}");
    }
    assert!(FieldName::new("XY").is_none() && FieldName::new(&"X".repeat(MAX_NAME + 1)).is_none());
}

#[test]
fn a_bearer_is_no_key_where_it_is_turned_off() {
    let fields = KeyFields { bearer: 0, ..fields() };
    let head = b"GET / HTTP/1.1\r\nAuthorization: Bearer secret-key\r\nX-API-Key: other-key\r\n\r\n";
    assert_eq!(key_hash(&head[..], &fields, SECRET), Ok(hash_bytes(SECRET, b"other-key")));
}
