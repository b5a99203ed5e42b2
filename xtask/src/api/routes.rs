//! The API's endpoints.

use super::school::{Enrolment, NewStudent, School};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The longest page, as the guide has it.
const MAX_PER_PAGE: usize = 100;

/// A header that ratelimitd replaces with its own.
const OWN_LIMIT: (&str, &str) = ("x-ratelimit-limit", "the API's own");

type Shared = State<Arc<School>>;

/// All endpoints, with a school behind them.
pub(super) fn router() -> Router {
    Router::new()
        .route("/courses", get(courses))
        .route("/courses/{id}", get(course))
        .route("/courses/{id}/export", post(export))
        .route("/students", get(students).post(add_student))
        .route("/students/bulk", post(add_students))
        .route("/enrollments/bulk", post(enrol))
        .route("/search/{kind}", get(search))
        .fallback(async || missing("no such endpoint"))
        .with_state(Arc::new(School::founded()))
}

#[derive(Deserialize)]
struct Page {
    page: Option<usize>,
    per_page: Option<usize>,
}

impl Page {
    fn of<T: Serialize>(&self, all: &[T]) -> Json<serde_json::Value> {
        let size = self.per_page.unwrap_or(20).clamp(1, MAX_PER_PAGE);
        let page = self.page.unwrap_or(1).max(1);
        let start = size.saturating_mul(page - 1);
        let data: Vec<_> = all.iter().skip(start).take(size).collect();
        let next = (start.saturating_add(size) < all.len()).then_some(page + 1);
        Json(json!({ "data": data, "page": page, "per_page": size, "total": all.len(), "next": next }))
    }
}

async fn courses(State(school): Shared, Query(page): Query<Page>) -> impl IntoResponse {
    ([OWN_LIMIT], page.of(&school.records().courses))
}

async fn course(State(school): Shared, Path(id): Path<u32>) -> Response {
    match school.records().course(id) {
        Some(course) => Json(course).into_response(),
        None => missing("no such course"),
    }
}

async fn export(State(school): Shared, Path(id): Path<u32>) -> Response {
    let records = school.records();
    match records.course(id) {
        Some(course) => {
            let export = json!({ "course": course, "enrolled": records.enrolled_in(id), "state": "queued" });
            (StatusCode::ACCEPTED, Json(export)).into_response()
        }
        None => missing("no such course"),
    }
}

async fn students(State(school): Shared, Query(page): Query<Page>) -> impl IntoResponse {
    page.of(&school.records().students)
}

async fn add_student(State(school): Shared, Json(new): Json<NewStudent>) -> impl IntoResponse {
    (StatusCode::CREATED, Json(school.records().admit(new)))
}

async fn add_students(State(school): Shared, Json(new): Json<Vec<NewStudent>>) -> impl IntoResponse {
    let mut records = school.records();
    let created: Vec<_> = new.into_iter().map(|new| records.admit(new).id).collect();
    (StatusCode::CREATED, Json(json!({ "created": created })))
}

async fn enrol(State(school): Shared, Json(new): Json<Vec<Enrolment>>) -> impl IntoResponse {
    let mut records = school.records();
    let (enrolled, refused): (Vec<_>, Vec<_>) = new.into_iter().partition(|new| records.enrol(*new));
    (StatusCode::CREATED, Json(json!({ "enrolled": enrolled, "refused": refused })))
}

#[derive(Deserialize)]
struct Search {
    q: Option<String>,
}

async fn search(State(school): Shared, Path(kind): Path<String>, Query(search): Query<Search>) -> Response {
    let wanted = search.q.unwrap_or_default().to_lowercase();
    let found = |text: &str| text.to_lowercase().contains(&wanted);
    let records = school.records();
    let data = match kind.as_str() {
        "courses" => json!(records.courses.iter().filter(|course| found(&course.title)).collect::<Vec<_>>()),
        "students" => json!(records.students.iter().filter(|one| found(&one.name)).collect::<Vec<_>>()),
        _ => return missing("courses and students can be searched"),
    };
    Json(json!({ "data": data })).into_response()
}

fn missing(message: &str) -> Response {
    let body = json!({ "error": { "code": "not_found", "message": message } });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
