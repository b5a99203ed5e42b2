//! Requests that two readers could take for different ones, each with the rule that it breaks. Behind every
//! one of them lies what an attacker would have the other reader take for the next request.

/// A POST with these fields in its head and this body.
macro_rules! post {
    ($fields:literal, $body:literal) => {
        concat!(
            "POST /first HTTP/1.1\r\nHost: api\r\nX-API-Key: key-of-the-professional-tier\r\n",
            $fields,
            "\r\n\r\n",
            $body,
            "GET /smuggled HTTP/1.1\r\nHost: api\r\nX-API-Key: key-of-the-professional-tier\r\n\r\n"
        )
    };
}

/// A GET whose head is as it is here, up to the line of the key.
macro_rules! get {
    ($head:literal) => {
        concat!(
            $head,
            "X-API-Key: key-of-the-professional-tier\r\n\r\n",
            "GET /smuggled HTTP/1.1\r\nHost: api\r\nX-API-Key: key-of-the-professional-tier\r\n\r\n"
        )
    };
}

/// Numbers are of sections in RFC 9112, unless RFC 9110 is named.
pub(crate) const REQUESTS: &[(&str, &str)] = &[
    // Two lengths.
    ("6.3: length and coding", post!("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    ("6.3: coding and length", post!("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
    ("6.3: lengths that differ", post!("Content-Length: 5\r\nContent-Length: 0", "hello")),
    ("6.3: the same length twice", post!("Content-Length: 5\r\nContent-Length: 5", "hello")),
    ("6.3: a list of lengths", post!("Content-Length: 5, 5", "hello")),
    ("6.3: a list of lengths that differ", post!("Content-Length: 0, 5", "hello")),
    // Lengths that are no numbers.
    ("RFC 9110, 8.6: plus", post!("Content-Length: +5", "hello")),
    ("RFC 9110, 8.6: minus", post!("Content-Length: -5", "hello")),
    ("RFC 9110, 8.6: hexadecimal", post!("Content-Length: 0x5", "hello")),
    ("RFC 9110, 8.6: a fraction", post!("Content-Length: 5.0", "hello")),
    ("RFC 9110, 8.6: a blank inside", post!("Content-Length: 5 0", "hello")),
    ("RFC 9110, 8.6: nothing", post!("Content-Length:", "hello")),
    ("RFC 9110, 8.6: a letter", post!("Content-Length: 5a", "hello")),
    ("RFC 9110, 8.6: more than 64 bits", post!("Content-Length: 18446744073709551621", "hello")),
    ("RFC 9110, 8.6: other digits", post!("Content-Length: \u{665}", "hello")),
    ("RFC 9110, 8.6: a vertical tab", post!("Content-Length: \u{b}5", "hello")),
    // Codings that one reader may not know, or know too well.
    ("6.1: another coding", post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
    ("6.1: chunked is not last", post!("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
    ("6.1: chunked twice", post!("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
    (
        "6.1: chunked in two fields",
        post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ),
    ("6.1: a second field", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n")),
    ("6.1: identity", post!("Transfer-Encoding: identity", "0\r\n\r\n")),
    ("6.1: nothing", post!("Transfer-Encoding:", "0\r\n\r\n")),
    ("6.1: something like it", post!("Transfer-Encoding: xchunked", "0\r\n\r\n")),
    ("6.1: in quotes", post!("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
    ("6.1: a parameter", post!("Transfer-Encoding: chunked;q=1", "0\r\n\r\n")),
    ("6.1: a vertical tab", post!("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n")),
    ("6.1: a comma", post!("Transfer-Encoding: chunked,", "0\r\n\r\n")),
    (
        "6.1: an old version",
        "POST / HTTP/1.0\r\nX-API-Key: key-of-the-professional-tier\r\nConnection: keep-alive\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api\r\n\r\n",
    ),
    // Lines.
    ("5.1: a blank before the colon", post!("Transfer-Encoding : chunked", "0\r\n\r\n")),
    ("5.1: a tab before the colon", post!("Content-Length\t: 5", "hello")),
    ("5.2: a folded value", post!("X-Folded: a\r\n Transfer-Encoding: chunked", "0\r\n\r\n")),
    ("5.2: a folded coding", post!("Transfer-Encoding:\r\n chunked", "0\r\n\r\n")),
    ("5.2: folded with a tab", post!("Content-Length: 5\r\n\tX: 1", "hello")),
    ("2.2: a line feed alone", post!("X: 1\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    ("2.2: a carriage return alone", post!("X: 1\rTransfer-Encoding: chunked", "0\r\n\r\n")),
    ("2.2: a head ended by line feeds", post!("Content-Length: 5\n\nGET / HTTP/1.1", "hello")),
    ("2.2: a second carriage return", post!("Content-Length: 5\r\r\nX: 1", "hello")),
    ("2.2: a blank before the first field", get!("GET / HTTP/1.1\r\n Host: api\r\nHost: api\r\n")),
    ("2.2: a line feed alone after the request line", get!("GET / HTTP/1.1\nHost: api\r\n")),
    ("5: no colon", post!("Transfer-Encoding chunked", "0\r\n\r\n")),
    ("5: no name", post!(": chunked", "0\r\n\r\n")),
    ("RFC 9110, 5.1: a name in brackets", post!("[Content-Length]: 5", "hello")),
    ("RFC 9110, 5.1: a control character in a name", post!("Content-Length\0: 5", "hello")),
    ("RFC 9110, 5.5: a zero in a value", post!("X: a\0b", "")),
    ("RFC 9110, 5.5: a control character in a value", post!("X: a\u{1}b", "")),
    // The request line.
    ("3: two blanks", get!("GET  / HTTP/1.1\r\nHost: api\r\n")),
    ("3: a blank in the target", get!("GET /a b HTTP/1.1\r\nHost: api\r\n")),
    ("3: a tab", get!("GET\t/ HTTP/1.1\r\nHost: api\r\n")),
    ("3: no version", get!("GET /\r\nHost: api\r\n")),
    ("2.3: a version that is none", get!("GET / HTTP/1.10\r\nHost: api\r\n")),
    ("2.3: a version that is not spoken", get!("GET / HTTP/2.0\r\nHost: api\r\n")),
    (
        "RFC 9113, 3.4: another version's preface",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ),
    ("3.1: a method that is no token", get!("GE(T / HTTP/1.1\r\nHost: api\r\n")),
    ("3.2: a relative target", get!("GET smuggled HTTP/1.1\r\nHost: api\r\n")),
    ("RFC 9110, 4.2.4: a name before the host", get!("GET http://api@evil/ HTTP/1.1\r\nHost: api\r\n")),
    // Whose request it is.
    ("3.2: no host", get!("GET / HTTP/1.1\r\n")),
    ("3.2: two hosts", get!("GET / HTTP/1.1\r\nHost: api\r\nHost: evil\r\n")),
    ("3.2: the same host twice", get!("GET / HTTP/1.1\r\nHost: api\r\nhost: api\r\n")),
    ("3.2: a list of hosts", get!("GET / HTTP/1.1\r\nHost: api, evil\r\n")),
    ("3.2: a path in the host", get!("GET / HTTP/1.1\r\nHost: api/evil\r\n")),
    ("3.2: a name before the host", get!("GET / HTTP/1.1\r\nHost: api@evil\r\n")),
    ("3.2: a blank in the host", get!("GET / HTTP/1.1\r\nHost: api evil\r\n")),
    // Chunks.
    ("7.1: no size", post!("Transfer-Encoding: chunked", "\r\n0\r\n\r\n")),
    ("7.1: a prefix", post!("Transfer-Encoding: chunked", "0x0\r\n\r\n")),
    ("7.1: a sign", post!("Transfer-Encoding: chunked", "+0\r\n\r\n")),
    ("7.1: a minus", post!("Transfer-Encoding: chunked", "-1\r\n\r\n")),
    ("7.1: a blank before the size", post!("Transfer-Encoding: chunked", " 0\r\n\r\n")),
    ("7.1: a blank behind the size", post!("Transfer-Encoding: chunked", "0 \r\n\r\n")),
    ("7.1: more than 64 bits", post!("Transfer-Encoding: chunked", "10000000000000000\r\n\r\n")),
    ("7.1: a size ended by a line feed", post!("Transfer-Encoding: chunked", "0\n\r\n")),
    ("7.1: a size ended by a carriage return", post!("Transfer-Encoding: chunked", "0\rX\r\n\r\n")),
    (
        "7.1: a chunk that is longer than its size",
        post!("Transfer-Encoding: chunked", "1\r\nab\r\n0\r\n\r\n"),
    ),
    ("7.1: a chunk ended by a line feed", post!("Transfer-Encoding: chunked", "1\r\na\n0\r\n\r\n")),
    ("7.1: a chunk ended by nothing", post!("Transfer-Encoding: chunked", "1\r\na0\r\n\r\n")),
    ("7.1.1: a line feed in an extension", post!("Transfer-Encoding: chunked", "1;a\nb\r\na\r\n0\r\n\r\n")),
    (
        "7.1.1: a carriage return in an extension",
        post!("Transfer-Encoding: chunked", "1;a\rb\r\na\r\n0\r\n\r\n"),
    ),
    ("7.1.2: a body ended by a line feed", post!("Transfer-Encoding: chunked", "0\r\n\n")),
    ("7.1.2: a trailer without a colon", post!("Transfer-Encoding: chunked", "0\r\nX\r\n\r\n")),
    ("7.1.2: a folded trailer", post!("Transfer-Encoding: chunked", "0\r\nX: 1\r\n 2\r\n\r\n")),
    ("7.1.2: a trailer ended by a line feed", post!("Transfer-Encoding: chunked", "0\r\nX: 1\nY: 2\r\n\r\n")),
    ("7.1.2: a blank before a trailer's colon", post!("Transfer-Encoding: chunked", "0\r\nX : 1\r\n\r\n")),
];
