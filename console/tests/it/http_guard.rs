//! Who may ask a node: names, pages of other sites, tokens, content types, and the limits on connections and slow clients; and that the log names who may not.

use std::time::Duration;

use holm_console::management::{self, HttpLimits, HttpOptions, ServeError};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::log_lines::{keep, logged};
use super::one_node::{OneNode, answer};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_node_answers_to_its_own_names_only() {
    let hosts = vec!["holm.internal".to_owned()];
    let node = OneNode::with(HttpOptions { hosts, ..HttpOptions::default() }).await;
    for (host, status) in [
        ("localhost:9", 200),
        ("127.0.0.1", 200),
        ("[::1]:7070", 200),
        ("holm.internal", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ] {
        let (got, body) = answer(node.get("/api/v1/cluster").header("host", host)).await;
        assert_eq!(got, status, "{host}: {body}");
    }
    node.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let node = OneNode::start().await;
    let command = || node.command("account/alice/open", &json!({"owner": "ada"}));
    for (header, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let (status, body) = answer(command().header(header, value)).await;
        assert_eq!((status, &body["kind"]), (403, &json!("fix_request")), "{header}: {value}");
    }
    let own = command().header("origin", node.url()).header("sec-fetch-site", "same-origin");
    assert_eq!(answer(own).await.0, 200);
    node.stop().await;
}

#[tokio::test]
async fn a_post_without_json_is_415() {
    let node = OneNode::start().await;
    let path = "/api/v1/entities/account/alice/commands/open";
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let request = node.post(path).header("content-type", content_type);
        assert_eq!(answer(request.body(r#"{"owner":"ada"}"#)).await.0, 415, "{content_type}");
    }
    assert_eq!(answer(node.post(path).body(r#"{"owner":"ada"}"#)).await.0, 415);
    let request = node.post(path).header("content-type", "application/json; charset=utf-8");
    assert_eq!(answer(request.body(r#"{"owner":"ada"}"#)).await.0, 200);
    node.stop().await;
}

#[tokio::test]
async fn a_token_opens_everything_but_the_probes_need_none() {
    let options = HttpOptions { token: Some(TOKEN.to_owned()), ..HttpOptions::default() };
    let node = OneNode::with(options).await;
    let cluster = || node.get("/api/v1/cluster");
    for request in [
        cluster(),
        cluster().bearer_auth("0123456789abcdef0123456789abcdeX"),
        cluster().bearer_auth(""),
        cluster().header("authorization", format!("Basic {TOKEN}")),
        node.get(&format!("/api/v1/cluster?token={TOKEN}")),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.status().as_u16(), 401);
    }
    assert_eq!(answer(cluster().bearer_auth(TOKEN)).await.0, 200);
    assert_eq!(node.get("/livez").send().await.unwrap().status().as_u16(), 200);
    node.stop().await;
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token() {
    let node = OneNode::start().await;
    let bind = ([0, 0, 0, 0], 0).into();
    let open = HttpOptions { bind, ..HttpOptions::default() };
    let error = management::serve(node.holm.clone(), open).await.unwrap_err();
    assert!(matches!(error, ServeError::TokenMissing { .. }));
    assert!(error.to_string().contains("HOLM_HTTP__TOKEN"), "{error}");
    node.stop().await;
}

/// Promise G9: connections are bounded, and the one too many is told so.
#[tokio::test]
async fn the_connection_too_many_is_told_so() {
    keep();
    let limits = HttpLimits { connections: 2, ..HttpLimits::default() };
    let node = OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        // A stream of facts goes on for ever.
        let mut stream = TcpStream::connect(node.server().address()).await.unwrap();
        let request = b"GET /api/v1/stream?topics=events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        held.push(stream);
    }
    // Longer than an idle client would keep its place.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut stream = TcpStream::connect(node.server().address()).await.unwrap();
    let me = stream.local_addr().unwrap().to_string();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("every connection"), "{text}");
    logged(&["WARN", &me, "every connection is taken"]).await;
    drop(held);
    node.stop().await;
}

/// Promise G9: connections that ask for nothing keep nobody out.
#[tokio::test]
async fn an_idle_connection_makes_room() {
    keep();
    let limits = HttpLimits { connections: 2, ..HttpLimits::default() };
    let node = OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await;
    let connect = || TcpStream::connect(node.server().address());
    // One that was answered and one that never said anything.
    let mut answered = connect().await.unwrap();
    answered.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    answered.read_exact(&mut [0]).await.unwrap();
    let mut silent = connect().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;

    let mut operator = connect().await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    operator.write_all(request).await.unwrap();
    let mut text = String::new();
    operator.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");

    let me = answered.local_addr().unwrap().to_string();
    logged(&["WARN", &me, "its place was needed"]).await;
    answered.read_to_end(&mut Vec::new()).await.unwrap();
    // One place was enough, and the other client came later.
    silent.write_all(request).await.unwrap();
    text.clear();
    silent.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    node.stop().await;
}

/// Promise G9: a client that sends its head or its body too slowly loses its place.
#[tokio::test]
async fn a_slow_client_loses_its_place() {
    let limits = HttpLimits {
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        ..HttpLimits::default()
    };
    let node = OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await;
    let mut head = TcpStream::connect(node.server().address()).await.unwrap();
    head.write_all(b"GET /livez HT").await.unwrap();
    let mut answer = Vec::new();
    // Whatever it is told, the connection ends; without the limit this would wait for ever.
    let ended = tokio::time::timeout(Duration::from_secs(10), head.read_to_end(&mut answer)).await;
    assert!(ended.is_ok());
    let mut body = TcpStream::connect(node.server().address()).await.unwrap();
    let request = "POST /api/v1/entities/account/a/commands/open HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    body.write_all(request.as_bytes()).await.unwrap();
    let mut text = [0; 12];
    body.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"HTTP/1.1 408");
    node.stop().await;
}

/// Says something on a new connection, and gives the line of the log that names it.
async fn logged_about(node: &OneNode, said: &str) -> String {
    let mut stream = TcpStream::connect(node.server().address()).await.unwrap();
    let me = format!("peer={}", stream.local_addr().unwrap());
    // What is too long may be cut off before all of it was said.
    let _ = stream.write_all(said.as_bytes()).await;
    logged(&["WARN", "refused a client of the management HTTP", &me]).await
}

/// Promise G9: who is refused is named in the log with the reason, and what it sent cannot forge a line.
#[tokio::test]
async fn who_is_refused_is_named_in_the_log() {
    keep();
    let node = OneNode::start().await;
    let post = "POST /api/v1/entities/account/a/commands/open HTTP/1.1\r\nhost: localhost\r\n";
    for (said, reason, detail) in [
        ("GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned(), "host-refused", "evil.example"),
        (
            format!("{post}origin: http://evil.example\r\n\r\n"),
            "origin-refused",
            "http://evil.example",
        ),
        (format!("{post}content-length: 0\r\n\r\n"), "content-type-refused", "application/json"),
        ("HELO localhost\r\n\r\n".to_owned(), "no-http", "no HTTP"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(500_000)), "long-head", "too long"),
    ] {
        let line = logged_about(&node, &said).await;
        assert!(line.contains(reason) && line.contains(detail), "{reason}: {line}");
    }
    node.stop().await;

    let options = HttpOptions { token: Some(TOKEN.to_owned()), ..HttpOptions::default() };
    let node = OneNode::with(options).await;
    let wrong = "GET /api/v1/cluster HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer not-this-one\r\n\r\n";
    let line = logged_about(&node, wrong).await;
    assert!(line.contains("token-missing") && !line.contains("not-this-one"), "{line}");
    node.stop().await;

    let limits = HttpLimits {
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        body_bytes: 1_000,
        concurrent_streams: 0,
        ..HttpLimits::default()
    };
    let node = OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await;
    let json = format!("{post}content-type: application/json\r\n");
    let stream = "GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (said, reason, detail) in [
        ("GET /livez HTTP/1.1\r\n".to_owned(), "slow-head", "did not end in time"),
        (format!("{json}content-length: 100\r\n\r\n{{"), "body-timeout", "not whole after"),
        (
            format!("{json}content-length: 1001\r\n\r\n{}", "y".repeat(1_001)),
            "too-large",
            "more than 1000 bytes",
        ),
        (stream.to_owned(), "too-many-streams", "concurrent_streams of 0"),
    ] {
        let line = logged_about(&node, &said).await;
        assert!(line.contains(reason) && line.contains(detail), "{reason}: {line}");
    }
    node.stop().await;
}
