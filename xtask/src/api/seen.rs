//! Counting requests by the key they present.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests that reached the API, by presented key; those without one are under the empty string.
pub type Counts = BTreeMap<String, u64>;

#[derive(Default)]
pub(super) struct Seen(Mutex<Counts>);

impl Seen {
    fn add(&self, key: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(counts.insert(key.to_owned(), 1)),
        }
    }

    fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn router(seen: Arc<Seen>) -> Router {
    Router::new().route("/_seen", get(serve)).with_state(seen)
}

async fn serve(State(seen): State<Arc<Seen>>) -> Json<Counts> {
    Json(seen.counts())
}

pub(super) async fn count(State(seen): State<Arc<Seen>>, request: Request, next: Next) -> Response {
    seen.add(presented(request.headers()));
    next.run(request).await
}

fn presented(headers: &HeaderMap) -> &str {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let (scheme, key) = text(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    };
    text("x-api-key").or_else(bearer).unwrap_or_default()
}
