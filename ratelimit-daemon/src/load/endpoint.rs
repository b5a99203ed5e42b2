//! What is asked for: the guide's endpoints, or any other, as bytes that are ready but for the key.

use super::scenario::Carrier;
use std::fmt::Write as _;

/// Spellings of one request with different numbers in it, so that not every request is the same.
const VARIANTS: u32 = 16;

/// An endpoint in a population's mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) method: String,
    /// `{n}` stands for a number.
    pub(crate) path: String,
    /// Place of the rule in the scenario's, if it has one of its own.
    pub(crate) rule: Option<usize>,
    pub(crate) body: Body,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Nothing,
    /// A JSON array of so many students.
    Students(u32),
    /// A JSON array of so many enrolments.
    Enrolments(u32),
}

/// An endpoint of the guide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// The name of its rule.
    pub(crate) rule: Option<&'static str>,
    /// Makes the body of its records, for those that take any.
    pub(crate) body: Option<fn(u32) -> Body>,
}

/// The endpoints that the guide names.
pub(crate) const BUILT_IN: [BuiltIn; 7] = [
    get("list-courses", "/courses?page={n}&per_page=100"),
    get("course", "/courses/{n}"),
    get("list-students", "/students?page={n}&per_page=100"),
    BuiltIn { rule: Some("search"), ..get("search", "/search/students?q=a{n}") },
    BuiltIn { rule: Some("export"), ..post("export", "/courses/{n}/export", None) },
    BuiltIn { rule: Some("bulk"), ..post("bulk-students", "/students/bulk", Some(Body::Students)) },
    BuiltIn { rule: Some("bulk"), ..post("bulk-enrollments", "/enrollments/bulk", Some(Body::Enrolments)) },
];

const fn get(name: &'static str, path: &'static str) -> BuiltIn {
    BuiltIn { name, method: "GET", path, rule: None, body: None }
}

const fn post(name: &'static str, path: &'static str, body: Option<fn(u32) -> Body>) -> BuiltIn {
    BuiltIn { name, method: "POST", path, rule: None, body }
}

impl Body {
    fn text(self, variant: u32) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Students(count) => array(count, |text, number| {
                let number = variant * count + number;
                // Writing to a string cannot fail.
                let _ =
                    write!(text, "{{\"name\":\"Student {number}\",\"email\":\"s{number}@load.example\"}}");
            }),
            Self::Enrolments(count) => array(count, |text, number| {
                let _ = write!(text, "{{\"student_id\":{},\"course_id\":{}}}", number + 1, variant + 1);
            }),
        }
    }
}

fn array(count: u32, mut item: impl FnMut(&mut String, u32)) -> String {
    let mut text = String::from("[");
    for number in 0..count {
        if number > 0 {
            text.push(',');
        }
        item(&mut text, number);
    }
    text.push(']');
    text
}

/// Requests to one endpoint, ready but for the key.
#[derive(Debug)]
pub(crate) struct Rendered {
    variants: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Rendered {
    pub(crate) fn new(endpoint: &Endpoint, host: &str, carrier: Carrier, keep_alive: bool) -> Self {
        let variant = |number: u32| {
            let path = endpoint.path.replace("{n}", &(number + 1).to_string());
            let field = match carrier {
                Carrier::ApiKey => "X-API-Key: ",
                Carrier::Bearer => "Authorization: Bearer ",
            };
            let before = format!("{} {path} HTTP/1.1\r\nHost: {host}\r\n{field}", endpoint.method);
            let body = endpoint.body.text(number);
            let mut after = String::from("\r\n");
            if !keep_alive {
                after.push_str("Connection: close\r\n");
            }
            if endpoint.body != Body::Nothing {
                after.push_str("Content-Type: application/json\r\n");
            }
            if endpoint.body != Body::Nothing || endpoint.method != "GET" && endpoint.method != "HEAD" {
                let _ = write!(after, "Content-Length: {}\r\n", body.len());
            }
            after.push_str("\r\n");
            after.push_str(&body);
            (before.into_bytes(), after.into_bytes())
        };
        Self { variants: (0..VARIANTS).map(variant).collect() }
    }

    /// Writes a request with `key`, the spelling being chosen by `number`.
    pub(crate) fn write(&self, output: &mut Vec<u8>, key: &str, number: u64) {
        let variant = number % u64::from(VARIANTS);
        if let Some((before, after)) = self.variants.get(variant as usize) {
            output.extend_from_slice(before);
            output.extend_from_slice(key.as_bytes());
            output.extend_from_slice(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_request_has_its_records_and_says_how_long_they_are() {
        let endpoint = Endpoint {
            name: "bulk".into(),
            method: "POST".into(),
            path: "/students/bulk".into(),
            rule: None,
            body: Body::Students(100),
        };
        let mut output = Vec::new();
        Rendered::new(&endpoint, "h", Carrier::Bearer, false).write(&mut output, "the-key", 3);
        let text = String::from_utf8(output).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with("POST /students/bulk HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer the-key\r\n")
        );
        assert!(
            head.contains("\r\nConnection: close")
                && head.ends_with(&format!("Content-Length: {}", body.len()))
        );
        let records: Vec<serde_json::Value> = serde_json::from_str(body).expect("JSON");
        assert_eq!(records.len(), 100);
    }

    #[test]
    fn a_get_has_no_body_and_its_numbers_vary() {
        let endpoint = Endpoint {
            name: "course".into(),
            method: "GET".into(),
            path: "/courses/{n}".into(),
            rule: None,
            body: Body::Nothing,
        };
        let rendered = Rendered::new(&endpoint, "h:1", Carrier::ApiKey, true);
        let text = |number| {
            let mut output = Vec::new();
            rendered.write(&mut output, "k", number);
            String::from_utf8(output).expect("text")
        };
        assert_eq!(text(0), "GET /courses/1 HTTP/1.1\r\nHost: h:1\r\nX-API-Key: k\r\n\r\n");
        assert!(text(17).starts_with("GET /courses/2 "));
    }
}
