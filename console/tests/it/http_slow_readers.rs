//! Clients of the management HTTP that ask and do not read: they lose their places, with a line in the log that names them.

use std::net::SocketAddr;
use std::time::Duration;

use holm_console::management::{HttpLimits, HttpOptions};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::log_lines::{keep, logged};
use super::one_node::{OneNode, answer};

/// Far longer than the limit of these nodes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn node() -> OneNode {
    keep();
    let limits = HttpLimits {
        write_stall: Duration::from_millis(500),
        // Not what ends them here.
        head_timeout: PATIENCE * 2,
        concurrent_streams: 1,
        ..HttpLimits::default()
    };
    OneNode::with(HttpOptions { limits, ..HttpOptions::default() }).await
}

/// A connection that takes little before somebody must read.
async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

/// Promise G9: who asks again and again and reads no answer is let go.
#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_let_go() {
    let node = node().await;
    let mut deaf = connect(node.server().address()).await;
    let me = deaf.local_addr().unwrap().to_string();
    let request = b"GET /api/v1/entity-types HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let asking = async { while deaf.write_all(request).await.is_ok() {} };
    let let_go = tokio::time::timeout(PATIENCE, asking).await;
    assert!(let_go.is_ok(), "the node neither answers nor closes");
    logged(&["WARN", &me, "deaf", "it does not read its answers"]).await;
    assert_eq!(answer(node.get("/api/v1/cluster")).await.0, 200);
    node.stop().await;
}

/// Promise G9: a stream that nobody reads gives its place to the next.
#[tokio::test]
async fn a_stream_that_nobody_reads_gives_its_place_to_the_next() {
    let node = node().await;
    // More than both kernels' buffers take: 12 MB.
    let owner = "o".repeat(200_000);
    for number in 0..60 {
        let open = node.command(&format!("account/{number}/open"), &json!({ "owner": owner }));
        assert_eq!(answer(open).await.0, 200);
    }
    let mut deaf = connect(node.server().address()).await;
    let me = deaf.local_addr().unwrap().to_string();
    let request = b"GET /api/v1/stream?from=beginning HTTP/1.1\r\nhost: localhost\r\n\r\n";
    deaf.write_all(request).await.unwrap();
    logged(&["WARN", &me, "deaf"]).await;
    let another = node.get("/api/v1/stream?from=beginning&until_now=true");
    assert_eq!(another.send().await.unwrap().status().as_u16(), 200);
    node.stop().await;
}
