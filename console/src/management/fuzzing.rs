//! The doors of the fuzz targets to a request: the body of a command, and all that stands around a body. See [`crate::fuzzing`].

use std::sync::LazyLock;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use holm::bus::Start;
use holm::flow::Window;
use holm::{CorrelationId, EntityAddress, ErrorKind, Registry};
use holm_domains::{bank::Account, flights::Airport, seats::Show};
use serde::de::DeserializeOwned;

use super::{body, commands, entities, failures, flows, guard, projections, records, stream};
use crate::views::{HandleFailures, PositionDocument};

/// Shards of the cluster that is asked.
const SHARDS: u32 = 8;

/// Commands with and without fields, of every demo domain.
const COMMANDS: [(&str, &str, &str); 8] = [
    ("account", "open", r#"{"owner":"ada"}"#),
    ("account", "deposit", r#"{"amount":100}"#),
    ("account", "balance", "{}"),
    ("show", "choose", r#"{"seat":"A1","holder":"ada"}"#),
    ("show", "map", ""),
    ("airport", "depart", r#"{"at":"2001/01/01 00:47","delay":-6,"distance":1750,"to":"LAS"}"#),
    ("airport", "totals", "{}"),
    ("account", "no-such-command", "{}"),
];

static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| Registry::new().entity::<Account>().entity::<Show>().entity::<Airport>());

/// The body of a command; the first byte says of which.
pub fn http_body(data: &[u8]) {
    let Some((&which, bytes)) = data.split_first() else { return };
    let (entity_type, command, _) = COMMANDS[usize::from(which) % COMMANDS.len()];
    let Ok(body) = body::parse(bytes) else { return };
    match REGISTRY.command_from_json(entity_type, command, &body) {
        Ok(payload) => assert!(payload.len() <= bytes.len() + 64, "a body does not swell"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::FixRequest, "{error}"),
    }
}

/// Seeds of [`http_body`].
#[must_use]
pub fn http_body_seeds() -> Vec<Vec<u8>> {
    let bodies = COMMANDS.iter().zip(0u8..);
    let mut seeds: Vec<_> =
        bodies.map(|((_, _, body), which)| [&[which], body.as_bytes()].concat()).collect();
    for odd in [r#"{"amount":1e400}"#, r#"{"amount":-1}"#, "[[[[[[[[", "null", "\"\\ud800\""] {
        seeds.push([&[1], odd.as_bytes()].concat());
    }
    seeds
}

/// What the first byte of an input says that the rest is.
mod kind {
    pub(super) const PLACE: u8 = 0;
    pub(super) const QUERY: u8 = 1;
    pub(super) const HEADERS: u8 = 2;
    pub(super) const ORDER: u8 = 3;
    pub(super) const NAME: u8 = 4;
    pub(super) const COUNT: u8 = 5;
}

/// What stands in a request beside the body of a command: an id as in `Last-Event-ID`, a query, headers, the body of an order, a name in a path.
pub fn request(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let text = || std::str::from_utf8(bytes).ok();
    match kind % kind::COUNT {
        kind::PLACE => _ = text().map(place),
        kind::QUERY => _ = text().map(query),
        kind::HEADERS => headers(bytes),
        kind::ORDER => order(bytes),
        _ => _ = text().map(name),
    }
}

fn place(id: &str) {
    if let Ok(Start::After(position)) = stream::start(Some(id), SHARDS) {
        assert!(position.0.len() <= SHARDS as usize, "a place in each shard at most");
        for (shard, offset) in &position.0 {
            assert!(shard.0 < SHARDS);
            assert!(offset.get() < u64::MAX, "there is always one behind it");
        }
        let again = stream::read(&stream::written(&position), SHARDS).expect("our own id");
        assert!(again.has_reached(&position));
    }
}

fn query(text: &str) {
    let Ok(uri) = format!("/?{text}").parse::<Uri>() else { return };
    if let Some(wish) = parsed::<stream::Wish>(&uri) {
        _ = stream::interest(&wish);
    }
    if let Some(window) = parsed::<records::Window>(&uri) {
        assert!(window.begin().get() > 0, "the first record that is wanted");
    }
    _ = parsed::<commands::Wait>(&uri);
    _ = parsed::<entities::At>(&uri);
    _ = parsed::<entities::Page>(&uri);
    _ = parsed::<failures::Wanted>(&uri);
    _ = parsed::<flows::How>(&uri);
    _ = parsed::<flows::Wanted>(&uri);
    _ = parsed::<projections::How>(&uri);
}

fn parsed<T: DeserializeOwned>(uri: &Uri) -> Option<T> {
    Query::<T>::try_from_uri(uri).ok().map(|Query(parsed)| parsed)
}

fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    _ = commands::lineage(&headers);
    _ = guard::check_origin("localhost:7070", &headers);
    _ = guard::check_content_type(&Method::POST, &headers);
}

fn order(bytes: &[u8]) {
    let Ok(body) = body::parse(bytes) else { return };
    if let Ok(HandleFailures { filter, .. }) = serde_json::from_value(body.clone()) {
        _ = failures::filter(&filter);
    }
    _ = serde_json::from_value::<PositionDocument>(body);
}

fn name(text: &str) {
    assert!(text.starts_with(guard::without_port(text)));
    _ = failures::filter(text);
    if let Ok(id) = text.parse::<CorrelationId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        if let Some(Window { from, until }) = Window::around(id) {
            assert!(from <= until);
        }
    }
    if let Ok(address) = text.parse::<EntityAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// Seeds of [`request`].
#[must_use]
pub fn request_seeds() -> Vec<Vec<u8>> {
    let texts = [
        (kind::PLACE, "0:12,3:7"),
        (kind::PLACE, "beginning"),
        (kind::PLACE, "7:18446744073709551615"),
        (kind::QUERY, "topics=events,failures&entity_type=account&event=Opened&from=now"),
        (kind::QUERY, "topics=cluster&tag=a,b&id_prefix=al%20&until_now=true"),
        (kind::QUERY, "shard=3&after=18446744073709551615&limit=10"),
        (kind::QUERY, "after=5&limit=100"),
        (kind::QUERY, "at_seq=7"),
        (kind::QUERY, "everything=true&timeout_ms=500"),
        (kind::QUERY, "filter=panicked+account%2Fa"),
        (
            kind::HEADERS,
            "idempotency-key:\"k1\"\nx-correlation-id:018f5e3b-0e6c-7f1c-8b5e-9d0a00000001\nx-causation-id:018f5e3b-0e6c-7f1c-8b5e-9d0a00000002\ntraceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\norigin:http://localhost:7070\ncontent-type:application/json; charset=utf-8",
        ),
        (kind::HEADERS, "sec-fetch-site:cross-site\norigin:http://evil.example"),
        (kind::ORDER, r#"{"filter":"panicked account/a","dry_run":true}"#),
        (kind::ORDER, r#"{"to":"end"}"#),
        (kind::ORDER, r#"{"positions":[{"shard":3,"offset":812}]}"#),
        (kind::NAME, "018f5e3b-0e6c-7f1c-8b5e-9d0a00000001"),
        (kind::NAME, "account/alice"),
        (kind::NAME, "[::1]:7070"),
    ];
    texts.iter().map(|(kind, text)| [&[*kind], text.as_bytes()].concat()).collect()
}
