//! The guard before every route: is this request meant for this node, does it come from where it should, and may its sender ask?
//!
//! `Host` is checked against DNS rebinding and `Origin` against pages of other sites: both are how a page in a browser would reach a node on
//! loopback. A token, where there is one, is compared in constant time. Who is refused is named in the log, here or behind a route.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::{Problem, Refused};
use super::server::Serving;

/// What a page of a node may load and who may frame it: itself, and nobody.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'";

/// Passes the request on, or answers with the reason why not.
pub(super) async fn check(
    State(serving): State<Arc<Serving>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let refused = check_host(&serving, request.headers())
        .and_then(|host| check_origin(&host, request.headers()))
        .and_then(|()| check_token(&serving, request.uri().path(), request.headers()))
        .and_then(|()| check_content_type(request.method(), request.headers()));
    let mut response = match refused {
        Ok(()) => {
            let response = next.run(request).await;
            if let Some(Refused { reason, detail }) = response.extensions().get() {
                serving.refusals.tell(peer, reason, detail);
            }
            response
        }
        Err(problem) => {
            let (reason, detail) = problem.told();
            serving.refusals.tell(peer, reason, detail);
            problem.of(&serving).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(POLICY));
    response
}

/// The value of `Host`, when it names this node.
fn check_host(serving: &Serving, headers: &HeaderMap) -> Result<String, Problem> {
    let host = single(headers, header::HOST).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "host-missing", "the request has no `Host`")
    })?;
    // Whoever knows the token was not sent here by a rebound name.
    if serving.options.token.is_some() || names_this_node(host, serving) {
        return Ok(host.to_owned());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "host-refused", "this node is not called that")
        .detail(format!("`Host: {host}` is none of the names of this node"))
        .next("use the address that the node printed, or add the name to the node's hosts"))
}

fn names_this_node(host: &str, serving: &Serving) -> bool {
    let name = without_port(host);
    let is_bound = host.parse::<SocketAddr>().is_ok_and(|address| address == serving.address);
    let given = serving.options.hosts.iter().map(String::as_str);
    let mut known = ["127.0.0.1", "localhost", "[::1]"].into_iter().chain(given);
    is_bound || known.any(|known| known.eq_ignore_ascii_case(name))
}

pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A browser says where a page comes from; only pages of this very node may ask.
pub(super) fn check_origin(host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: String| {
        Problem::new(StatusCode::FORBIDDEN, "origin-refused", "this page may not ask this node")
            .detail(detail)
            .next("open the pages of the node itself")
    };
    if let Some(site) = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok())
        && !matches!(site, "same-origin" | "none")
    {
        return Err(refuse(format!("`Sec-Fetch-Site: {site}`")));
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.to_str().is_ok_and(|origin| origin == format!("http://{host}")) => {
            Ok(())
        }
        Some(origin) => {
            Err(refuse(format!("`Origin: {}`", String::from_utf8_lossy(origin.as_bytes()))))
        }
    }
}

fn check_token(serving: &Serving, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    // A kubelet has no token, and these two say nothing but yes or no.
    let is_probe = matches!(path, "/livez" | "/readyz" | "/alive" | "/ready");
    let Some(token) = &serving.options.token else { return Ok(()) };
    let given = single(headers, header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if is_probe || given.is_some_and(|given| equal_in_constant_time(given, token)) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED, "token-missing", "a token is needed")
        .detail("the request carries no token, or another one")
        .next("send `Authorization: Bearer …` (holm --token …)")
        .header(header::WWW_AUTHENTICATE, "Bearer"))
}

/// Takes as long for a wrong first byte as for a wrong last one. The length is no secret.
fn equal_in_constant_time(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let differing = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differing) == 0
}

/// A form on a foreign page can post anything but JSON.
pub(super) fn check_content_type(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = || {
        single(headers, header::CONTENT_TYPE)
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
    };
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || is_json() {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "content-type-refused", "the body must be JSON")
        .detail("the request lacks `Content-Type: application/json`")
        .next("send `Content-Type: application/json`"))
}

/// The value of a header that stands there once.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(equal_in_constant_time("0123456789abcdef", "0123456789abcdef"));
        assert!(!equal_in_constant_time("0123456789abcdeg", "0123456789abcdef"));
        assert!(!equal_in_constant_time("0123456789abcde", "0123456789abcdef"));
        assert!(!equal_in_constant_time("", "0123456789abcdef"));
    }

    #[test]
    fn a_port_is_no_part_of_a_name() {
        assert_eq!(without_port("localhost:7070"), "localhost");
        assert_eq!(without_port("[::1]:7070"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("holm"), "holm");
    }
}
