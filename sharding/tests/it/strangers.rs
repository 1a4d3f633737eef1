//! What a node does with connections that are not from its cluster: it says why, it closes, and it goes on serving.

use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use holm_sharding::{Lane, PeerError, PeersOptions, RefusalCode, Secret};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, ask, client, echo, impatient, node, start};

async fn refusal(server: PeersOptions, dialler: PeersOptions) -> PeerError {
    let server = start(server, echo()).await;
    let dialler = start(dialler, echo()).await;
    dialler.set_address(NodeId(1), server.local_addr().unwrap());
    ask(&dialler, 1, "x").await.unwrap_err()
}

#[tokio::test]
async fn another_cluster_and_another_secret_are_refused() {
    let stranger = PeersOptions { cluster: "other".into(), ..client() };
    let error = refusal(node(1), stranger).await;
    assert!(matches!(error, PeerError::Refused { code: RefusalCode::Cluster, .. }), "{error:?}");

    let secret = |text: &str| Some(Secret::new(text));
    let server = PeersOptions { secret: secret("right"), ..node(1) };
    let dialler = PeersOptions { secret: secret("wrong"), ..client() };
    let error = refusal(server.clone(), dialler).await;
    assert!(matches!(error, PeerError::Refused { code: RefusalCode::Secret, .. }), "{error:?}");
    let error = refusal(server.clone(), client()).await;
    assert!(matches!(error, PeerError::Refused { code: RefusalCode::Secret, .. }), "{error:?}");

    let server = start(server, echo()).await;
    let friend = start(PeersOptions { secret: secret("right"), ..client() }, echo()).await;
    friend.set_address(NodeId(1), server.local_addr().unwrap());
    ask(&friend, 1, "x").await.unwrap();
}

#[tokio::test]
async fn a_process_refuses_itself() {
    let server = start(node(1), echo()).await;
    let me = server.local_addr().unwrap();
    let error = server.request(me, Lane::Control, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, PeerError::Refused { code: RefusalCode::Myself, .. }), "{error:?}");
}

#[tokio::test]
async fn a_browser_gets_an_answer_and_is_closed() {
    let server = start(node(1), echo()).await;
    let mut browser = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The rest of what was written may come back as a reset behind the answer.
    let _ = browser.read_to_end(&mut answer).await;
    assert!(String::from_utf8_lossy(&answer).contains("protocol between nodes"), "{answer:?}");
}

#[tokio::test]
async fn slow_strangers_are_cut_off_and_too_many_are_not_let_in() {
    let mut options = PeersOptions { limits: impatient(), ..node(1) };
    options.limits.unauthenticated = 4;
    let server = start(options, echo()).await;
    let address = server.local_addr().unwrap();
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(TcpStream::connect(address).await.unwrap());
    }
    for stranger in &mut slow {
        let read = tokio::time::timeout(PATIENCE, stranger.read(&mut [0; 1])).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    }
    let friend = start(client(), echo()).await;
    friend.set_address(NodeId(1), address);
    crate::support::ask_until_answered(&friend, 1).await;
}

/// Whatever comes in behind a good handshake, the node closes that connection and serves the others.
#[test]
fn garbage_behind_the_handshake_closes_one_connection() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(start(node(1), echo()));
    let address = server.local_addr().unwrap();
    let friend = runtime.block_on(start(client(), echo()));
    friend.set_address(NodeId(1), address);
    proptest!(ProptestConfig::with_cases(64), |(garbage in proptest::collection::vec(any::<u8>(), 1..300))| {
        runtime.block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            shake_hands(&mut stream).await;
            // A length within bounds would wait for the rest; ending the stream ends that.
            let _ = stream.write_all(&garbage).await;
            let _ = stream.shutdown().await;
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
            ask(&friend, 1, "still there").await.unwrap();
        });
    });
}

/// Speaks the handshake by hand, as `docs/wire-format.md` says, without a secret.
pub(crate) async fn shake_hands(stream: &mut TcpStream) {
    let mut body = Vec::new();
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&[4, 0]);
    body.extend_from_slice(b"test");
    body.extend_from_slice(&0u64.to_le_bytes());
    body.extend_from_slice(&[9; 32]);
    body.extend_from_slice(&[0; 16]);
    body.extend_from_slice(&[1, 0, b'x', 0, 0, 0, 0]);
    send(stream, 1, &body).await;
    let (kind, _) = receive(stream).await;
    assert_eq!(kind, 2, "a welcome");
    send(stream, 3, &[0, 0]).await;
    let (kind, _) = receive(stream).await;
    assert_eq!(kind, 4, "ready");
}

async fn send(stream: &mut TcpStream, kind: u8, body: &[u8]) {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    let message = [b"HOLM", &[kind][..], &length, body].concat();
    stream.write_all(&message).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 7];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    let mut body = vec![0; usize::from(u16::from_le_bytes([head[5], head[6]]))];
    stream.read_exact(&mut body).await.unwrap();
    (head[4], body)
}
