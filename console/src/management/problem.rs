//! Errors as RFC 9457 has them, each with what to do (`kind`, `try`) and what became of the command (`outcome`).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holm::{AskError, ErrorKind, Limit, Outcome};

use super::server::Serving;
use crate::views::ProblemDocument;

/// An error on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    document: ProblemDocument,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// A problem of the request; nothing was done.
    pub(super) fn new(status: StatusCode, name: &str, title: &str) -> Self {
        let kind = if status.is_server_error() { "give_up" } else { "fix_request" };
        Self {
            status,
            document: ProblemDocument {
                problem_type: format!("urn:holm:problem:{name}"),
                title: title.to_owned(),
                status: status.as_u16(),
                detail: title.to_owned(),
                kind: kind.to_owned(),
                outcome: "not_applied".to_owned(),
                next: String::new(),
                served_by: String::new(),
            },
            header: None,
        }
    }

    /// The same with what happened this time.
    pub(super) fn detail(mut self, detail: impl ToString) -> Self {
        self.document.detail = detail.to_string();
        self
    }

    /// The same with what to do next.
    pub(super) fn next(mut self, next: impl ToString) -> Self {
        self.document.next = next.to_string();
        self
    }

    /// The same with what a program should do.
    pub(super) fn kind(mut self, kind: ErrorKind) -> Self {
        self.document.kind = kind_name(kind).to_owned();
        self
    }

    /// The same with one more header.
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The same with the node that says so.
    pub(super) fn of(mut self, serving: &Serving) -> Self {
        self.document.served_by = serving.name();
        self
    }

    /// Something in this node is not as it should be.
    pub(super) fn internal(detail: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this node failed").detail(detail)
    }

    /// There is no such thing.
    pub(super) fn not_found(name: &str, detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, name, "not found").detail(detail)
    }

    /// A part of the request cannot be understood.
    pub(super) fn bad_request(detail: impl ToString) -> Self {
        let title = "the request is malformed";
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", title).detail(detail)
    }

    /// A type and an id that are no address of an entity.
    pub(super) fn malformed_address(detail: impl ToString) -> Self {
        Self::bad_request(detail).next("write type/id, for example account/alice")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.document)).into_response();
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media_type);
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let (status, name, title, next) = describe(&error);
        let mut problem =
            Self::new(status, name, title).detail(&error).next(next).kind(error.kind());
        problem.document.outcome = outcome_name(error.outcome()).to_owned();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem = problem.header(header::RETRY_AFTER, "1");
        }
        problem
    }
}

type Description = (StatusCode, &'static str, &'static str, String);

fn describe(error: &AskError) -> Description {
    const AGAIN: &str = "send it again with the same Idempotency-Key";
    let did_you_mean = |nearest: &Option<Box<str>>, otherwise: &str| match nearest {
        Some(nearest) => format!("use `{nearest}`"),
        None => otherwise.to_owned(),
    };
    match error {
        AskError::Overloaded { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "overloaded",
            format!("wait a moment, then {AGAIN}"),
        ),
        AskError::TooLarge { limit: Limit::CommandBytes, .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "too large", "send less at once".into())
        }
        AskError::TooLarge { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "too-large",
            "the entity said more than fits",
            "make the entity answer with less".into(),
        ),
        AskError::Unavailable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the shard is not served",
            format!("wait a moment, then {AGAIN}"),
        ),
        AskError::DeadlinePassed { .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "deadline-passed", "no answer in time", AGAIN.into())
        }
        AskError::Moved { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "moved", "the shard is led elsewhere", AGAIN.into())
        }
        AskError::Interrupted { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "interrupted", "the outcome is unknown", AGAIN.into())
        }
        AskError::UnknownEntityType { nearest, .. } => (
            StatusCode::NOT_FOUND,
            "unknown-entity-type",
            "no such entity type",
            did_you_mean(nearest, "GET /api/v1/entity-types lists what there is"),
        ),
        AskError::UnknownCommand { nearest, .. } => (
            StatusCode::NOT_FOUND,
            "unknown-command",
            "no such command",
            did_you_mean(nearest, "GET /api/v1/entity-types lists what there is"),
        ),
        AskError::Undecodable { .. } => (
            StatusCode::BAD_REQUEST,
            "undecodable",
            "the body does not fit the command",
            "compare the body with the command's fields".into(),
        ),
        AskError::KeyReused { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "the idempotency key was used before",
            "choose a new key for a new intention".into(),
        ),
        AskError::EntityFailed { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "entity-failed",
            "the entity failed",
            "look into the log of the node".into(),
        ),
        AskError::RecoveryFailed { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "recovery-failed",
            "the entity cannot be recovered",
            "look into the log of the node".into(),
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "the command failed", String::new()),
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::BackOff => "back_off",
        ErrorKind::FixRequest => "fix_request",
        _ => "give_up",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "not_applied",
        Outcome::Unknown => "unknown",
    }
}
