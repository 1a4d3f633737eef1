//! The body of a request: read up to a limit and within a time, then parsed as JSON.

use axum::body::Body;
use axum::http::StatusCode;
use futures::StreamExt as _;
use serde_json::Value;

use super::options::HttpLimits;
use super::problem::Problem;

/// How many times the limit is still read and thrown away, so that a client that is a little over it gets to read the answer.
const DRAINED: usize = 4;

/// The body as JSON; an empty one is an empty object.
pub(super) async fn json(body: Body, limits: &HttpLimits) -> Result<Value, Problem> {
    let bytes = tokio::time::timeout(limits.body_timeout, read(body, limits.body_bytes))
        .await
        .map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body came too slowly")
            .detail(format!("the body was not whole after {} s", limits.body_timeout.as_secs()))
            .refusal()
    })??;
    parse(&bytes)
}

/// The bytes of a body as JSON; none are an empty object.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut seen) = (Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| Problem::bad_request(format!("the body broke off: {error}")))?;
        seen += chunk.len();
        if seen <= limit {
            bytes.extend_from_slice(&chunk);
        } else if seen > limit * DRAINED {
            break;
        }
    }
    if seen > limit {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "the body is too large",
        )
        .detail(format!("the body has more than {limit} bytes (limit body_bytes)"))
        .next("send less at once")
        .refusal());
    }
    Ok(bytes)
}
