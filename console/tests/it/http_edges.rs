//! The edges of the management HTTP: bodies that are bombs, heads without an end, crowds that say nothing, and what every answer carries.

use std::time::Duration;

use holm_console::management::{HttpLimits, HttpOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::one_node::{OneNode, answer};

/// Promise G9: a body of nothing but depth, of digits without an end or of a text that is no text is a bad request; the node serves on.
#[tokio::test]
async fn a_body_that_is_a_bomb_is_a_bad_request() {
    let node = OneNode::start().await;
    // Below the limit on bodies, which has a test of its own.
    let deep = |open: &str| open.repeat(200_000 / open.len());
    let bombs = [
        deep("["),
        deep("{\"a\":"),
        format!("{{\"amount\":{}}}", "9".repeat(200_000)),
        "{\"amount\":1e999999999}".to_owned(),
        format!("{{\"amount\":\"{}\"}}", "x".repeat(200_000)),
        "\"\\ud800\"".to_owned(),
        "\u{feff}{}".to_owned(),
    ];
    answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    for bomb in bombs {
        let what = bomb[..bomb.len().min(20)].to_owned();
        let request = node.post("/api/v1/entities/account/alice/commands/deposit");
        let request = request.header("content-type", "application/json").body(bomb);
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["kind"]), (400, &json!("fix_request")), "{what}: {body}");
    }
    let deposited = answer(node.command("account/alice/deposit", &json!({"amount": 5}))).await;
    assert_eq!((deposited.0, &deposited.1["reply"]), (200, &json!(5)));
    node.stop().await;
}

/// Promise G9: a head without an end is cut off, and a chunked body without a length is held to the same limit as one with it.
#[tokio::test]
async fn heads_and_bodies_without_an_end_are_cut_off() {
    let node = OneNode::start().await;
    let mut head = TcpStream::connect(node.server().address()).await.unwrap();
    head.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    let line = format!("x-more: {}\r\n", "y".repeat(8_000));
    let mut sent = 0;
    while sent < 16 << 20 && head.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 16 << 20, "16 MiB of head were taken");
    let mut body = TcpStream::connect(node.server().address()).await.unwrap();
    let request = "POST /api/v1/entities/account/a/commands/open HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    body.write_all(request.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x1_0000));
    let mut sent = 0;
    while sent < 64 << 20 && body.write_all(chunk.as_bytes()).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "64 MiB of body were taken");
    assert_eq!(answer(node.get("/api/v1/cluster")).await.0, 200);
    node.stop().await;
}

/// Promise G9: a thousand connections that say nothing leave room for one that does, and lose their places.
#[tokio::test]
async fn a_thousand_idle_connections_leave_room() {
    let limits = HttpLimits { head_timeout: Duration::from_secs(1), ..HttpLimits::default() };
    let node = OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(TcpStream::connect(node.server().address()).await.unwrap());
    }
    assert_eq!(answer(node.get("/api/v1/cluster")).await.0, 200);
    for stream in &mut idle {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok());
    }
    node.stop().await;
}

/// Answers and refusals alike tell a browser to guess no type, to keep nothing, to tell nobody, and to let nobody frame or script them.
#[tokio::test]
async fn every_answer_carries_the_headers_for_a_browser() {
    let node = OneNode::start().await;
    for request in [
        node.get("/api/v1/cluster"),
        node.get("/livez"),
        node.get("/no/such/page"),
        node.get("/api/v1/cluster").header("host", "evil.example"),
        node.post("/api/v1/entities/account/a/commands/open").body("x"),
    ] {
        let response = request.send().await.unwrap();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'self'; frame-ancestors 'none'"),
        ] {
            assert_eq!(response.headers()[name], value, "{name} of {response:?}");
        }
        assert!(response.headers().get("access-control-allow-origin").is_none());
    }
    node.stop().await;
}
