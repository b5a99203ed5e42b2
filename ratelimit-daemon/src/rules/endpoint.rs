//! Endpoints as people write them: `POST /courses/:id/export`, `GET /search/*`, `* /admin/*`.

use std::fmt;
use std::str::FromStr;

/// A method and a pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// In capitals; `None` for every method.
    pub(super) method: Option<String>,
    pub(super) segments: Vec<Segment>,
    /// Whether everything below the path is meant too: `/*` at the end.
    pub(super) is_prefix: bool,
}

/// A part of a path, between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// These letters.
    Literal(String),
    /// Anything: `:name`.
    Any(String),
}

impl Endpoint {
    /// The endpoint of `method` (`*` for all) and `path`; else why there is no such endpoint.
    pub(super) fn new(method: &str, path: &str) -> Result<Self, String> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'+^`|".contains(&byte);
        let method = match method {
            "*" => None,
            _ if method.eq_ignore_ascii_case("HEAD") => {
                return Err("HEAD counts as GET; write GET".to_owned());
            }
            _ if method.is_empty() || !method.bytes().all(is_token) => {
                return Err(format!("{method:?} is not a method; write one such as GET, or * for all"));
            }
            _ => Some(method.to_ascii_uppercase()),
        };
        let (path, is_prefix) = match path.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let path = match path {
            "" if is_prefix => "",
            "/" => "",
            _ => path.strip_prefix('/').ok_or("a path starts with a slash")?,
        };
        let segments = path.split('/').filter(|_| !path.is_empty()).map(Segment::new);
        Ok(Self { method, segments: segments.collect::<Result<_, _>>()?, is_prefix })
    }

    /// Whether every request is of this endpoint.
    pub fn is_everything(&self) -> bool {
        self.method.is_none() && self.segments.is_empty() && self.is_prefix
    }

    /// Whether a request can be of both endpoints. Letters of another case count as different.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let of_any_method = self.method.is_none() || other.method.is_none();
        if !of_any_method && self.method != other.method {
            return false;
        }
        let (shorter, longer) =
            if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let reaches = shorter.segments.len() == longer.segments.len() || shorter.is_prefix;
        reaches && shorter.segments.iter().zip(&longer.segments).all(|(one, other)| one.meets(other))
    }

    /// The same in lower letters.
    pub(super) fn to_lower(&self) -> Self {
        let lower = |segment: &Segment| match segment {
            Segment::Literal(text) => Segment::Literal(text.to_ascii_lowercase()),
            Segment::Any(name) => Segment::Any(name.clone()),
        };
        Self { segments: self.segments.iter().map(lower).collect(), ..self.clone() }
    }
}

impl Segment {
    fn new(text: &str) -> Result<Self, String> {
        // What a path has none of once it is read.
        const MARKS: [char; 6] = ['%', '?', '#', ';', '\\', '*'];
        match text.strip_prefix(':') {
            Some("") => Err("a name has to follow the ':', such as :id".to_owned()),
            Some(name) => Ok(Self::Any(name.to_owned())),
            None if text.is_empty() => Err("an empty part; write one slash, and none at the end".to_owned()),
            None if text == "." || text == ".." => Err(format!("{text:?} never reaches an API server")),
            None if text.contains(MARKS) => Err(format!(
                "{text:?} has one of {}; write the path without query and encoding, :name for any one part, \
                 and * only as the last part",
                MARKS.map(String::from).join(" ")
            )),
            None => Ok(Self::Literal(text.to_owned())),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(other)) => one == other,
            _ => true,
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let endpoint = match text.split_once(' ') {
            Some((method, path)) => Self::new(method, path.trim_start()),
            None => Err("write a method, a space and a path".to_owned()),
        };
        endpoint.map_err(|why| {
            format!("{text:?} is not an endpoint, such as \"POST /courses/:id/export\" or \"GET /search/*\": {why}")
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method.as_deref().unwrap_or("*"))?;
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Any(name) => write!(f, "/:{name}")?,
            }
        }
        match (self.is_prefix, self.segments.is_empty()) {
            (true, _) => f.write_str("/*"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}
