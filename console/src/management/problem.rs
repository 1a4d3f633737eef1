//! Errors as RFC 9457 has them, each with what to do (`kind`, `try`) and what became of the command (`outcome`).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holm::{AskError, ErrorKind, Limit, Outcome};

use super::server::Serving;
use crate::views::ProblemDocument;

/// What the type of every problem begins with.
const URN: &str = "urn:holm:problem:";

/// An error on its way to a client. Boxed, because it is the rare half of nearly every result here.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    document: Box<ProblemDocument>,
    header: Option<(HeaderName, &'static str)>,
    /// Whether the log names who gets it.
    is_refusal: bool,
}

impl Problem {
    /// A problem of the request; nothing was done.
    pub(super) fn new(status: StatusCode, name: &str, title: &str) -> Self {
        let kind = if status.is_server_error() { "give_up" } else { "fix_request" };
        Self {
            status,
            document: Box::new(ProblemDocument {
                problem_type: format!("{URN}{name}"),
                title: title.to_owned(),
                status: status.as_u16(),
                detail: title.to_owned(),
                kind: kind.to_owned(),
                outcome: "not_applied".to_owned(),
                next: String::new(),
                served_by: String::new(),
            }),
            header: None,
            is_refusal: false,
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

    /// The same, and the log names who gets it: a client that goes beyond a limit of this node.
    pub(super) fn refusal(mut self) -> Self {
        self.is_refusal = true;
        self
    }

    /// The same with the node that says so.
    pub(super) fn of(mut self, serving: &Serving) -> Self {
        self.document.served_by = serving.name();
        self
    }

    /// Its name and what happened this time: for the log.
    pub(super) fn told(&self) -> (&str, &str) {
        let name = self.document.problem_type.trim_start_matches(URN);
        (name, &self.document.detail)
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

/// Goes with a response to where it is known who gets it.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let refused = self.is_refusal.then(|| {
            let (reason, detail) = self.told();
            Refused { reason: reason.to_owned(), detail: detail.to_owned() }
        });
        let mut response = (self.status, Json(self.document)).into_response();
        if let Some(refused) = refused {
            response.extensions_mut().insert(refused);
        }
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
    const LATER: &str = "wait a moment, then send it again with the same Idempotency-Key";
    const LOG: &str = "look into the log of the node";
    let (status, name, title, next) = match error {
        AskError::Overloaded { .. } => (503, "overloaded", "overloaded", LATER),
        AskError::TooLarge { limit: Limit::CommandBytes, .. } => {
            (413, "too-large", "too large", "send less at once")
        }
        AskError::TooLarge { .. } => {
            (500, "too-large", "the entity said more than fits", "make it answer with less")
        }
        AskError::Unavailable { .. } => (503, "unavailable", "the shard is not served", LATER),
        AskError::DeadlinePassed { .. } => (504, "deadline-passed", "no answer in time", AGAIN),
        AskError::Moved { .. } => (503, "moved", "the shard is led elsewhere", AGAIN),
        AskError::Interrupted { .. } => (503, "interrupted", "the outcome is unknown", AGAIN),
        AskError::UnknownEntityType { nearest, .. } => {
            return unknown("unknown-entity-type", "no such entity type", nearest.as_deref());
        }
        AskError::UnknownCommand { nearest, .. } => {
            return unknown("unknown-command", "no such command", nearest.as_deref());
        }
        AskError::Undecodable { .. } => {
            let next = "compare the body with the command's fields";
            (400, "undecodable", "the body does not fit the command", next)
        }
        AskError::KeyReused { .. } => {
            let next = "choose a new key for a new intention";
            (422, "key-reused", "the idempotency key was used before", next)
        }
        AskError::EntityFailed { .. } => (500, "entity-failed", "the entity failed", LOG),
        AskError::RecoveryFailed { .. } => {
            (500, "recovery-failed", "the entity cannot be recovered", LOG)
        }
        AskError::Restarting { .. } => {
            (503, "restarting", "the entity restarts after a failure", LATER)
        }
        AskError::Quarantined { .. } => {
            let next = "`holm failures` shows what failed; `holm failures --resume` lets it go on";
            (409, "quarantined", "the entity is in quarantine", next)
        }
        _ => (500, "failed", "the command failed", LOG),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, name, title, next.to_owned())
}

fn unknown(name: &'static str, title: &'static str, nearest: Option<&str>) -> Description {
    let next = match nearest {
        Some(nearest) => format!("use `{nearest}`"),
        None => "GET /api/v1/entity-types lists what there is".to_owned(),
    };
    (StatusCode::NOT_FOUND, name, title, next)
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
