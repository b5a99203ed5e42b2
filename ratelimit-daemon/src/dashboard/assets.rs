//! The pages, as they were built in: see `build.rs`.

use super::Desk;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::LazyLock;

/// Nothing from anywhere else, no script in the page itself, and in nobody's frame.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A file that browsers get.
struct Asset {
    kind: &'static str,
    plain: &'static [u8],
    packed: Vec<u8>,
    tag: String,
}

static PAGE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("text/html; charset=utf-8", include_bytes!(concat!(env!("OUT_DIR"), "/dashboard/index.html")))
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/dashboard/app.js")),
    )
});
static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("text/css; charset=utf-8", include_bytes!(concat!(env!("OUT_DIR"), "/dashboard/app.css")))
});

/// They hold nothing that is secret: who is at the door needs them to show the token.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { PAGE.answer(&headers) }))
        .route("/app.js", get(|headers: HeaderMap| async move { SCRIPT.answer(&headers) }))
        .route("/app.css", get(|headers: HeaderMap| async move { STYLE.answer(&headers) }))
}

impl Asset {
    fn new(kind: &'static str, plain: &'static [u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; and if it did, what is packed would be empty and not sent.
        let packed = encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default();
        let digest = Sha256::digest(plain);
        let tag = digest.iter().take(8).fold("\"".to_owned(), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
        Self { kind, plain, packed, tag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let says = |name: HeaderName, what: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what))
        };
        let always = [
            (header::ETAG, self.tag.as_str()),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "Accept-Encoding"),
            (header::CONTENT_TYPE, self.kind),
        ];
        if self.plain.is_empty() {
            let told = "this ratelimitd was built without its dashboard: build it with `cargo xtask build`";
            return (StatusCode::NOT_FOUND, told).into_response();
        }
        if says(header::IF_NONE_MATCH, &self.tag) {
            return (StatusCode::NOT_MODIFIED, always).into_response();
        }
        match says(header::ACCEPT_ENCODING, "gzip") && !self.packed.is_empty() {
            true => (always, [(header::CONTENT_ENCODING, "gzip")], self.packed.clone()).into_response(),
            false => (always, self.plain).into_response(),
        }
    }
}
