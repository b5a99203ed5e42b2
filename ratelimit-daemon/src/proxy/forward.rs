//! What a proxy changes in a head: the fields that are for one connection only, the framing, and who it comes
//! from. Everything else goes on as it came, to the letter.

use super::framing::Framing;
use super::head::{Field, RequestHead, ResponseHead};
use super::provenance::Provenance;
use super::role::Role;
use super::survey::{Survey, is_host, is_nominated};

/// How the body of a request that can be forwarded is framed; else why it cannot be.
pub(super) fn framing(head: &RequestHead<'_, '_>, survey: &Survey<'_>) -> Result<Framing, &'static str> {
    if head.method == "CONNECT" {
        Err("CONNECT is not supported.")
    } else if target(head.target).is_none() {
        Err("The request target must be a path.")
    } else if !survey.has_valid_host(head.is_http_11) {
        Err("The request must have one Host field.")
    } else {
        survey.request_framing(head.is_http_11)
    }
}

/// Path and query of the target of a request that can be forwarded, as the upstream gets them.
pub(super) fn path<'a>(head: &RequestHead<'_, 'a>) -> &'a str {
    match target(head.target) {
        Some((path, _)) if !path.is_empty() => path,
        _ => "/",
    }
}

/// Path and query of a request target, as sent, and the host if it is there (RFC 9112, 3.2).
fn target(target: &str) -> Option<(&str, Option<&str>)> {
    const SCHEME: &str = "http://";
    if target.starts_with('/') || target == "*" {
        return Some((target, None));
    }
    let (scheme, rest) = target.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    // RFC 9110, 4.2.4: a name before the host is there to deceive.
    (!authority.is_empty() && is_host(authority.as_bytes())).then_some((path, Some(authority)))
}

/// What a request says further on that its own head does not tell.
pub(super) struct Onward<'a> {
    pub(super) framing: Framing,
    /// The protocol that it asks for.
    pub(super) upgrade: Option<&'a [u8]>,
    pub(super) provenance: Provenance<'a>,
    /// For the HTTP/1.0 client that names no host.
    pub(super) default_host: &'a str,
}

/// Writes the head of a request as the upstream gets it: path and query as sent.
pub(super) fn write_request(
    output: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    survey: &Survey<'_>,
    onward: &Onward<'_>,
) {
    let Onward { framing, upgrade, provenance, default_host } = onward;
    let (path, host) = target(head.target).unwrap_or((head.target, None));
    let host = host.map(str::as_bytes).or(survey.host).unwrap_or(default_host.as_bytes());
    write(output, &[head.method.as_bytes(), b" "]);
    if !path.starts_with(['/', '*']) {
        output.push(b'/');
    }
    write(output, &[path.as_bytes(), b" HTTP/1.1\r\nHost: ", host, b"\r\n"]);
    let is_passed_on = |field: &&Field<'_>| match Role::of(field.name) {
        Role::Authorization | Role::Rate | Role::Other => {
            !(survey.nominates && is_nominated(head.fields, field.name))
        }
        // Written anew, or not meant for the upstream, unless a trusted proxy has written it.
        role => provenance.keeps(role),
    };
    head.fields.iter().filter(is_passed_on).for_each(|field| write_field(output, field));
    write_framing(output, *framing, survey);
    if survey.expects_continue && head.is_http_11 && *framing != Framing::Length(0) {
        output.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(protocol) = *upgrade {
        write_upgrade(output, protocol);
    } else if survey.takes_trailers && head.is_http_11 {
        output.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    provenance.write(output, head.fields, survey, host);
    output.extend_from_slice(b"\r\n");
}

/// Writes the fields of a message that asks for `protocol`, or changes to it.
pub(super) fn write_upgrade(output: &mut Vec<u8>, protocol: &[u8]) {
    write(output, &[b"Connection: Upgrade\r\nUpgrade: ", protocol, b"\r\n"]);
}

/// The framing anew: the one that we read by. A request without a body says so only if it did.
fn write_framing(output: &mut Vec<u8>, framing: Framing, survey: &Survey<'_>) {
    match (framing, survey.length) {
        (Framing::Chunked, _) => output.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (_, Some(length)) => {
            write_number(output, "Content-Length: ", length);
            output.extend_from_slice(b"\r\n");
        }
        (_, None) => {}
    }
}

/// Writes the head of a response as the client gets it, up to where our own fields begin. `length` says whether
/// a `Content-Length` is true, and `replaces` whether the upstream's rate-limit fields give way to ours.
pub(super) fn write_response(
    output: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    survey: &Survey<'_>,
    has_length: bool,
    replaces: bool,
) {
    write_number(output, "HTTP/1.1 ", head.status.into());
    write(output, &[b" ", head.reason.as_bytes(), b"\r\n"]);
    let mut has_written_length = false;
    for field in head.fields {
        let is_sent = match Role::of(field.name) {
            Role::ContentLength => has_length && !std::mem::replace(&mut has_written_length, true),
            Role::Rate => !replaces,
            Role::HopByHop | Role::Connection | Role::Upgrade | Role::TransferEncoding => false,
            _ => !(survey.nominates && is_nominated(head.fields, field.name)),
        };
        if is_sent {
            write_field(output, field);
        }
    }
}

/// Writes the trailers among `fields` but those that would say something else about the message, its sender or
/// its limits than the head did (RFC 9110, 6.5.1), and the field `withheld`.
pub(super) fn write_trailers(output: &mut Vec<u8>, fields: &[Field<'_>], withheld: &str) {
    let is_passed_on = |field: &&Field<'_>| {
        Role::of(field.name) == Role::Other && !field.name.eq_ignore_ascii_case(withheld)
    };
    fields.iter().filter(is_passed_on).for_each(|field| write_field(output, field));
}

fn write_field(output: &mut Vec<u8>, field: &Field<'_>) {
    write(output, &[field.name.as_bytes(), b": ", field.value, b"\r\n"]);
}

/// Writes `parts`, one after the other.
pub(super) fn write(output: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| output.extend_from_slice(part));
}

/// Writes `text` and `number` behind it.
pub(super) fn write_number(output: &mut Vec<u8>, text: &str, number: u64) {
    output.extend_from_slice(text.as_bytes());
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Forwarded, Forwarding, Networks};
    use crate::proxy::head::Room;
    use crate::proxy::provenance::Peer;

    fn forwarded(request: &str) -> String {
        let mut room = Room::new();
        let head = RequestHead::parse(request.as_bytes(), &mut room).expect("a head");
        let survey = Survey::of(head.fields);
        let framing = framing(&head, &survey).expect("no problem");
        let forwarding = Forwarding {
            trusted: Networks::default(),
            proxy_protocol: Networks::default(),
            x_forwarded: Forwarded::Append,
            forwarded: Forwarded::Off,
        };
        let peer = Peer::new("192.0.2.1".parse().expect("an address"), &forwarding);
        let provenance = Provenance { peer: &peer, forwarding: &forwarding };
        let mut output = Vec::new();
        let onward = Onward { framing, upgrade: None, provenance, default_host: "api:80" };
        write_request(&mut output, &head, &survey, &onward);
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let request = "POST /a%2Fb//../?x#y HTTP/1.1\r\nhost: api\r\nConnection: close, X-Private\r\n\
            Connection: host,content-length\r\nContent-Length: 3\r\nX-PRIVATE: 1\r\nKeep-Alive: timeout=5\r\n\
            Proxy-Connection: keep-alive\r\nTE: gzip, trailers;q=1\r\nTrailer: x\r\nUpgrade: websocket\r\n\
            Expect: something\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-aPi-kEy: 1\r\n\r\n";
        let expected = "POST /a%2Fb//../?x#y HTTP/1.1\r\nHost: api\r\nTrailer: x\r\nX-aPi-kEy: 1\r\nContent-Length: 3\r\n\
            X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: api\r\n\r\n";
        assert_eq!(forwarded(request), expected);
    }

    #[test]
    fn a_client_without_a_host_gets_the_default_and_nobody_is_believed() {
        let request = "GET / HTTP/1.0\r\nX-Forwarded-For: 198.51.100.7, ::1\r\nForwarded: for=x\r\n\r\n";
        let expected = "GET / HTTP/1.1\r\nHost: api:80\r\nX-Forwarded-For: 192.0.2.1\r\n\
            X-Forwarded-Proto: http\r\nX-Forwarded-Host: api:80\r\n\r\n";
        assert_eq!(forwarded(request), expected);
    }

    #[test]
    fn a_target_with_a_host_becomes_a_path_and_a_host() {
        let cases = [
            ("http://api.example:81/a%2Fb?c=%20", "GET /a%2Fb?c=%20 HTTP/1.1\r\nHost: api.example:81\r\n"),
            ("HTTP://api.example", "GET / HTTP/1.1\r\nHost: api.example\r\n"),
            ("http://api.example?x", "GET /?x HTTP/1.1\r\nHost: api.example\r\n"),
            ("*", "GET * HTTP/1.1\r\nHost: other\r\n"),
        ];
        for (target, expected) in cases {
            let request = format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n");
            assert!(forwarded(&request).starts_with(expected), "{target}");
        }
        let invalid = ["api:80", "a", "https://a/", "http://", "http:///a", "ftp://a/", "http://user@a/"];
        for invalid in invalid {
            assert_eq!(target(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn a_response_keeps_its_letters_and_loses_what_is_ours() {
        let response = "HTTP/1.1 299 Odd Reason\r\nETAG: \"x\"\r\nConnection: x-inner\r\nX-Inner: 1\r\n\
            Transfer-Encoding: chunked\r\nContent-Length: 5\r\nX-RateLimit-Limit: 7\r\nRetry-After: 7\r\n\r\n";
        let mut room = Room::new();
        let head = ResponseHead::parse(response.as_bytes(), &mut room).expect("a head");
        let survey = Survey::of(head.fields);
        assert_eq!(survey.response_framing(), Some(Framing::Chunked));
        let mut output = Vec::new();
        write_response(&mut output, &head, &survey, false, true);
        assert_eq!(output, b"HTTP/1.1 299 Odd Reason\r\nETAG: \"x\"\r\nRetry-After: 7\r\n");
    }
}
