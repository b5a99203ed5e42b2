//! The answer to a request over its limits, from one source for the kernel program and the proxy.
//!
//! Whoever writes it hands in a [`Sink`]: a packet's scratch space or a growing vector. The proxy adds `Date`
//! and what it has to say of the connection; all else is the same to the letter.

use crate::SECOND_NS;

/// Where an answer is written.
pub trait Sink {
    /// Writes `text`.
    fn text(&mut self, text: &str);
    /// Writes `number` in decimal; at most 9,999,999,999.
    fn number(&mut self, number: u64);
}

/// The window that the three `X-RateLimit` fields describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Requests that it admits.
    pub limit: u64,
    /// Requests that it still admits.
    pub remaining: u64,
    /// When it is as good as new, or when the client may come again: Unix time in seconds.
    pub reset: u64,
}

/// One limit, as the IETF draft's fields list it (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What the limit is called: letters, digits, `_`, `-` and `.`, so that nothing needs a backslash.
    pub name: &'a str,
    /// Requests in a window.
    pub quota: u64,
    /// Length of the window, in seconds.
    pub window: u64,
    /// Requests that are left.
    pub remaining: u64,
    /// Seconds until there are more.
    pub reset: u64,
}

/// Whole seconds, rounded up, at least 1: a client that waits that long has waited long enough.
#[inline(always)]
pub const fn seconds(nanoseconds: u64) -> u64 {
    if nanoseconds == 0 { 1 } else { nanoseconds.div_ceil(SECOND_NS) }
}

/// The status line.
#[inline(always)]
pub fn status_line(sink: &mut impl Sink) {
    sink.text("HTTP/1.1 429 Too Many Requests\r\n");
}

/// The three fields of the guide.
#[inline(always)]
pub fn described_fields(sink: &mut impl Sink, described: &Described) {
    sink.text("X-RateLimit-Limit: ");
    sink.number(described.limit);
    sink.text("\r\nX-RateLimit-Remaining: ");
    sink.number(described.remaining);
    sink.text("\r\nX-RateLimit-Reset: ");
    sink.number(described.reset);
    sink.text("\r\n");
}

/// The draft's fields for `items`.
#[inline(always)]
pub fn item_fields(sink: &mut impl Sink, items: &[Item<'_>]) {
    sink.text("RateLimit-Policy: ");
    for (index, item) in items.iter().enumerate() {
        sink.text(if index == 0 { "\"" } else { ", \"" });
        sink.text(item.name);
        sink.text("\";q=");
        sink.number(item.quota);
        sink.text(";w=");
        sink.number(item.window);
    }
    sink.text("\r\nRateLimit: ");
    for (index, item) in items.iter().enumerate() {
        sink.text(if index == 0 { "\"" } else { ", \"" });
        sink.text(item.name);
        sink.text("\";r=");
        sink.number(item.remaining);
        sink.text(";t=");
        sink.number(item.reset);
    }
    sink.text("\r\n");
}

/// The seconds after which the client may come again.
#[inline(always)]
pub fn retry_after_field(sink: &mut impl Sink, seconds: u64) {
    sink.text("Retry-After: ");
    sink.number(seconds);
    sink.text("\r\n");
}

/// The field that says that the connection closes.
pub const CONNECTION_CLOSE: &str = "Connection: close\r\n";

const BODY: [&str; 3] = [
    "{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"API rate limit exceeded. Please retry after ",
    " seconds.\",\"retry_after\":",
    "}}",
];

/// The fields about the body, the end of the head, and the body if it `has_body`: the answer to HEAD has none.
#[inline(always)]
pub fn content(sink: &mut impl Sink, retry_after: u64, has_body: bool) {
    let [before, between, after] = BODY;
    let digits = crate::decimal::Digits::new(retry_after).len;
    sink.text("Content-Type: application/json\r\nContent-Length: ");
    sink.number((before.len() + between.len() + after.len() + 2 * digits) as u64);
    sink.text("\r\n\r\n");
    if has_body {
        sink.text(before);
        sink.number(retry_after);
        sink.text(between);
        sink.number(retry_after);
        sink.text(after);
    }
}

#[cfg(feature = "std")]
impl Sink for Vec<u8> {
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        let digits = crate::decimal::Digits::new(number);
        let mut bytes = [0; crate::decimal::MAX_DIGITS];
        let (head, tail) = bytes.split_at_mut(8);
        head.copy_from_slice(&digits.head.to_le_bytes());
        tail.copy_from_slice(&digits.tail.to_le_bytes());
        self.extend_from_slice(bytes.get(..digits.len).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_guide_s_to_the_letter() {
        let mut answer = Vec::new();
        status_line(&mut answer);
        described_fields(&mut answer, &Described { limit: 1_000, remaining: 0, reset: 1_633_028_400 });
        let burst = Item { name: "burst", quota: 100, window: 60, remaining: 99, reset: 1 };
        let hour = Item { name: "hour", quota: 1_000, window: 3_600, remaining: 0, reset: 1_800 };
        item_fields(&mut answer, &[burst, hour]);
        retry_after_field(&mut answer, 1_800);
        content(&mut answer, 1_800, true);
        let expected = "HTTP/1.1 429 Too Many Requests\r\n\
            X-RateLimit-Limit: 1000\r\n\
            X-RateLimit-Remaining: 0\r\n\
            X-RateLimit-Reset: 1633028400\r\n\
            RateLimit-Policy: \"burst\";q=100;w=60, \"hour\";q=1000;w=3600\r\n\
            RateLimit: \"burst\";r=99;t=1, \"hour\";r=0;t=1800\r\n\
            Retry-After: 1800\r\n\
            Content-Type: application/json\r\n\
            Content-Length: 129\r\n\
            \r\n\
            {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\
            \"API rate limit exceeded. Please retry after 1800 seconds.\",\"retry_after\":1800}}";
        assert_eq!(String::from_utf8(answer).expect("ASCII"), expected);
        let (_, body) = expected.split_once("\r\n\r\n").expect("a body");
        assert_eq!(body.len(), 129);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        let cases = [(0, 1), (1, 1), (SECOND_NS, 1), (SECOND_NS + 1, 2), (1_800 * SECOND_NS, 1_800)];
        for (nanoseconds, expected) in cases {
            assert_eq!(seconds(nanoseconds), expected);
        }
    }
}
