//! Commands: JSON in, the entity's answer out, with its place in history.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use holm::{
    Answer, AskOptions, CausationId, CorrelationId, EntityAddress, IdempotencyKey, TraceParent,
    Verdict,
};
use serde::Deserialize;

use super::body;
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::views::{Place, RejectionDocument, ReplyDocument};

/// What may stand after the `?`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// How long the caller waits for the entity.
    timeout_ms: Option<u64>,
}

type Target = (String, String, String);

/// `POST /api/v1/entities/{type}/{id}/commands/{command}`.
pub(super) async fn send(
    State(serving): Shared,
    target: Result<Path<Target>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Path(target) = target.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let Query(wait) = wait.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let answer = ask(&serving, &target, &wait, &headers, body).await;
    answer
        .and_then(|(answer, recorded)| tell(&serving, &target, &answer, recorded))
        .map_err(|problem| problem.of(&serving))
}

/// The answer, and the conversation of the record that the command left, if it did.
async fn ask(
    serving: &Arc<Serving>,
    (entity_type, id, command): &Target,
    wait: &Wait,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Answer, Option<CorrelationId>), Problem> {
    // Wrong names are told before wrong bodies.
    let registry = serving.holm.registry();
    let leaves_record = !registry.is_read_only(entity_type, command)?;
    let address = EntityAddress::new(entity_type.as_str(), id.as_str())
        .map_err(Problem::malformed_address)?;
    let options = options(serving, wait, headers)?;
    let body = body::json(body, &serving.options.limits).await?;
    let payload = registry.command_from_json(entity_type, command, &body)?;
    let caller = serving.holm.caller();
    let envelope = caller.envelope(address, command.to_owned(), payload, options);
    let correlation = envelope.correlation;
    let answer = caller.ask(envelope).await?;
    let recorded = (leaves_record && !answer.replayed).then_some(correlation);
    Ok((answer, recorded))
}

fn options(serving: &Serving, wait: &Wait, headers: &HeaderMap) -> Result<AskOptions, Problem> {
    let lineage = lineage(headers)?;
    let deadline = wait
        .timeout_ms
        .map(|wanted| {
            let longest = serving.options.limits.longest_wait;
            let wanted = Duration::from_millis(wanted);
            if wanted.is_zero() || wanted > longest {
                let longest = longest.as_millis();
                return Err(Problem::bad_request(format!("`timeout_ms` is 1 to {longest}")));
            }
            Ok(serving.now().plus(wanted))
        })
        .transpose()?;
    Ok(AskOptions { deadline, ..lineage })
}

/// What the headers say of the command: the key that makes it one however often it is sent, the conversation that it belongs to, and what caused it.
pub(super) fn lineage(headers: &HeaderMap) -> Result<AskOptions, Problem> {
    let key = header(headers, "idempotency-key")?
        .map(|text| {
            IdempotencyKey::new(unquoted(text))
                .map_err(|error| Problem::bad_request(format!("`Idempotency-Key`: {error}")))
        })
        .transpose()?;
    let correlation = id::<CorrelationId>(headers, "X-Correlation-Id")?.or_else(|| trace(headers));
    let causation = id::<CausationId>(headers, "X-Causation-Id")?;
    Ok(AskOptions { key, correlation, causation, ..AskOptions::default() })
}

/// The conversation of the trace that the request is part of. One that breaks its standard is as good as none, which is what the standard says.
fn trace(headers: &HeaderMap) -> Option<CorrelationId> {
    let parent = header(headers, "traceparent").ok()??;
    parent.parse().ok().map(TraceParent::conversation)
}

fn id<I: FromStr<Err: Display>>(headers: &HeaderMap, name: &str) -> Result<Option<I>, Problem> {
    let parse = |text: &str| {
        text.parse().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    };
    header(headers, name)?.map(parse).transpose()
}

/// A header that may be absent and must not stand there twice.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("`{name}` stands there twice")));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| Problem::bad_request(format!("`{name}` is not printable ASCII")))
}

/// The draft of the header's standard writes the key in quotes; most people write it without.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn tell(
    serving: &Serving,
    (entity_type, _, command): &Target,
    answer: &Answer,
    recorded: Option<CorrelationId>,
) -> Result<Response, Problem> {
    let registry = serving.holm.registry();
    // The bytes come from an entity, so what cannot be read here is no fault of the request.
    let said = registry
        .verdict_to_json(entity_type, command, &answer.verdict)
        .map_err(Problem::internal)?;
    let place = Place {
        seq: answer.sequence.get(),
        shard: answer.shard.0,
        offset: answer.offset.get(),
        replayed: answer.replayed,
        served_by: serving.name_of(answer.served_by),
        correlation_id: recorded.map(|id| id.to_string()),
    };
    Ok(match &answer.verdict {
        Verdict::Accepted(_) => Json(ReplyDocument { reply: said, place }).into_response(),
        Verdict::Rejected(bytes) => {
            let message = registry.rejection_text(entity_type, bytes).map_err(Problem::internal)?;
            let document = RejectionDocument { rejection: said, message, place };
            (StatusCode::UNPROCESSABLE_ENTITY, Json(document)).into_response()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_stand_in_quotes() {
        assert_eq!(unquoted("\"abc\""), "abc");
        assert_eq!(unquoted("abc"), "abc");
        assert_eq!(unquoted("\""), "\"");
    }
}
