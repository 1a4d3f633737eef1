//! The edges of a running node's port: frames too long, cut off or bad, handshakes said again, crowds that say nothing, peers that do not read.
//! Each harms its own connection and leaves the node serving. What strangers cost in memory is measured where a node is a process of its own, and by the
//! limits of the fuzz targets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holm_core::NodeId;
use holm_sharding::{Lane, Peers, PeersOptions, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::log_lines::{keep, logged};
use crate::strangers::shake_hands;
use crate::support::{PATIENCE, ask, ask_until_answered, client, echo, impatient, node, start};

async fn impatient_node() -> (Peers, SocketAddr) {
    keep();
    let server = start(PeersOptions { limits: impatient(), ..node(1) }, echo()).await;
    let address = server.local_addr().unwrap();
    (server, address)
}

async fn friend_of(address: SocketAddr) -> Peers {
    let friend = start(client(), echo()).await;
    friend.set_address(NodeId(1), address);
    friend
}

/// Waits for a line of the node's log about this connection.
async fn logged_about(stream: &TcpStream, wanted: &[&str]) {
    let remote = format!("remote={}", stream.local_addr().unwrap());
    logged(&[&[&*remote], wanted].concat()).await;
}

/// Whatever a peer still sends is read until the connection ends.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // A reset is an end too.
    drop(ended.expect("the node closes the connection"));
    said
}

/// Promise G9: a frame that claims more than there is room for is refused by its length, before anything is allocated for it.
#[tokio::test]
async fn a_frame_that_is_too_long_is_refused_by_its_length() {
    let (_server, address) = impatient_node().await;
    let friend = friend_of(address).await;
    ask(&friend, 1, "before").await.unwrap();
    for claim in [8 * 1024 * 1024 + 1, u32::MAX, 15, 0] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        shake_hands(&mut stream).await;
        let _ = stream.write_all(&[&claim.to_le_bytes()[..], &[0; 64]].concat()).await;
        let said = until_closed(&mut stream).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        let claims = format!("a frame claims {claim} bytes");
        assert!(said.contains(&claims), "{claim}: {said}");
        logged_about(&stream, &["WARN", "closing the connection of a peer", &claims]).await;
    }
    ask(&friend, 1, "after").await.unwrap();
}

/// Promise G9: a peer that falls silent in the middle of a frame, or says nothing at all, loses its place; many of them at once cost no more than what
/// they sent.
#[tokio::test]
async fn a_frame_that_is_cut_off_does_not_hold_its_place() {
    let (_server, address) = impatient_node().await;
    let friend = friend_of(address).await;
    ask(&friend, 1, "before").await.unwrap();
    let mut cut_off = Vec::new();
    for number in 0..64 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        shake_hands(&mut stream).await;
        if number % 2 == 0 {
            let claim: u32 = 8 * 1024 * 1024;
            stream.write_all(&[&claim.to_le_bytes()[..], &[1; 10]].concat()).await.unwrap();
        }
        cut_off.push(stream);
    }
    for (number, stream) in cut_off.iter_mut().enumerate() {
        until_closed(stream).await;
        let silent = "nothing was heard of the peer";
        match number % 2 {
            0 => logged_about(stream, &["WARN", "ended within a frame", silent]).await,
            // Who has nothing to say has sent nothing wrong.
            _ => logged_about(stream, &["DEBUG", "the connection of a peer ended", silent]).await,
        }
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    shake_hands(&mut stream).await;
    stream.write_all(&request(1, b"whole")[..20]).await.unwrap();
    stream.shutdown().await.unwrap();
    until_closed(&mut stream).await;
    let ended = "the stream ended 20 bytes into a frame";
    logged_about(&stream, &["WARN", "closing the connection of a peer", ended]).await;
    ask(&friend, 1, "after").await.unwrap();
}

/// Promise G9: a thousand connections that say nothing keep nobody out for longer than a handshake may take.
#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let (_server, address) = impatient_node().await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let friend = friend_of(address).await;
    ask_until_answered(&friend, 1).await;
    for stream in &mut idle {
        until_closed(stream).await;
    }
    let first = &idle[0];
    logged_about(first, &["WARN", "refused a connection", "the handshake took longer"]).await;
    ask(&friend, 1, "still there").await.unwrap();
}

/// Promise G9: who asks and does not read is let go when as much waits for it as may wait, and its neighbour notices nothing.
#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    keep();
    let mut options = node(1);
    options.limits.lane_bytes = 4 * 1024 * 1024;
    let server = start(options, echo()).await;
    let address = server.local_addr().unwrap();
    let friend = friend_of(address).await;
    let mut deaf = TcpStream::connect(address).await.unwrap();
    shake_hands(&mut deaf).await;
    let body = vec![7; 60_000];
    let mut number = 0;
    let refused = loop {
        number += 1;
        assert!(number < 10_000, "600 MB were taken without an end");
        let frame = request(number, &body);
        match tokio::time::timeout(PATIENCE, deaf.write_all(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => break error,
            Err(_) => panic!("the node neither reads nor closes"),
        }
        if number % 50 == 0 {
            ask(&friend, 1, "meanwhile").await.unwrap();
        }
    };
    println!("let go after {number} requests of 60,000 bytes: {refused}");
    logged_about(&deaf, &["WARN", "a peer that does not read its answers"]).await;
    ask(&friend, 1, "after").await.unwrap();
}

/// A handshake that was overheard on the wire opens nothing when it is said again.
#[tokio::test]
async fn an_overheard_handshake_opens_nothing() {
    let secret = || Some(Secret::new("s3cret"));
    let server = start(PeersOptions { secret: secret(), ..node(1) }, echo()).await;
    let target = server.local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let overheard = Arc::new(Mutex::new(Vec::new()));
    let heard = overheard.clone();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(target).await.unwrap();
        let ((mut said, mut answers), (mut back, mut on)) = (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut back, &mut answers).await });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = said.read(&mut buffer).await {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&buffer[..count]);
            on.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let friend = start(PeersOptions { secret: secret(), ..client() }, echo()).await;
    let body = Bytes::from_static(b"once");
    assert_eq!(friend.request(relay, Lane::Commands, body.clone(), PATIENCE).await, Ok(body));

    let said = overheard.lock().unwrap().clone();
    assert!(said.windows(4).any(|word| word == b"once"), "all that the dialler said was overheard");
    let mut thief = TcpStream::connect(target).await.unwrap();
    thief.write_all(&said).await.unwrap();
    let answer = until_closed(&mut thief).await;
    assert!(!answer.windows(4).any(|word| word == b"once"), "it was answered");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("secrets differ"), "{answer}");
}

/// A request as `docs/wire-format.md` says.
fn request(correlation: u64, body: &[u8]) -> Vec<u8> {
    let mut rest = vec![1, 1, 0, 0];
    rest.extend_from_slice(&correlation.to_le_bytes());
    rest.extend_from_slice(body);
    let length = u32::try_from(rest.len() + 4).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c(&rest).to_le_bytes();
    [&length[..], &checksum, &rest].concat()
}
