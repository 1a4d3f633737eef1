//! Connections that come and go: reconnecting, sure deaths, other nodes at known addresses, silence, shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{NodeId, Outcome};
use holm_sharding::{Lane, PeerError, PeerEvent, Peers, PeersOptions, RefusalCode};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{
    PATIENCE, ask, ask_until_answered, client, echo, event, identity, impatient, node, pair, start,
};

fn connected(event: &PeerEvent) -> Option<(NodeId, u64)> {
    match event {
        PeerEvent::Connected { node, incarnation, .. } => Some((*node, *incarnation)),
        _ => None,
    }
}

fn surely_dead(event: &PeerEvent) -> Option<NodeId> {
    match event {
        PeerEvent::Lost { node, sure_dead: true, .. } => Some(*node),
        _ => None,
    }
}

async fn restart_at(address: SocketAddr, incarnation: u64) -> Peers {
    let options = PeersOptions {
        listen: Some(address),
        ..PeersOptions::new("test", identity(1, incarnation))
    };
    start(options, echo()).await
}

#[tokio::test]
async fn a_dead_process_is_known_at_once_and_found_again() {
    let (server, client) = pair(echo()).await;
    let address = server.local_addr().unwrap();
    let mut events = client.events();
    ask(&client, 1, "x").await.unwrap();
    let began = Instant::now();
    server.shutdown().await;
    assert_eq!(event(&mut events, surely_dead).await, NodeId(1));
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    let error = ask(&client, 1, "x").await.unwrap_err();
    assert!(error.sure_dead(), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);

    let _server = restart_at(address, 2).await;
    assert_eq!(event(&mut events, connected).await, (NodeId(1), 2));
    ask(&client, 1, "y").await.unwrap();
}

#[tokio::test]
async fn a_newer_start_at_the_same_address_means_that_the_older_is_dead() {
    let (server, client) = pair(echo()).await;
    let address = server.local_addr().unwrap();
    let mut events = client.events();
    assert_eq!(event(&mut events, connected).await, (NodeId(1), 1));
    server.shutdown().await;
    let _server = restart_at(address, 2).await;
    assert_eq!(event(&mut events, surely_dead).await, NodeId(1));
    assert_eq!(event(&mut events, connected).await, (NodeId(1), 2));
}

#[tokio::test]
async fn what_waits_when_a_connection_is_lost_is_unknown() {
    let kept = std::sync::Mutex::new(Vec::new());
    let silent = crate::support::Handling(move |_: &_, _, _, respond| {
        kept.lock().unwrap().push(respond);
    });
    let (server, client) = pair(std::sync::Arc::new(silent)).await;
    let mut events = client.events();
    let waiting = tokio::spawn(client.request(NodeId(1), Lane::Commands, Bytes::new(), PATIENCE));
    event(&mut events, connected).await;
    server.shutdown().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, PeerError::Lost { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn a_request_to_nobody_fails_at_once_and_was_not_sent() {
    let client = start(client(), echo()).await;
    assert_eq!(ask(&client, 9, "x").await, Err(PeerError::UnknownNode { node: NodeId(9) }));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client.request(free, Lane::Commands, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(error.sure_dead(), "{error:?}");
}

/// A node that lost its disk comes back under a new id: what is meant for the old one must not reach it.
#[tokio::test]
async fn a_message_for_one_node_does_not_reach_another_at_its_address() {
    let (server, client) = pair(echo()).await;
    let address = server.local_addr().unwrap();
    client.set_address(NodeId(5), address);
    ask_until_answered(&client, 1).await;
    let error = ask(&client, 5, "x").await.unwrap_err();
    assert!(matches!(error, PeerError::Refused { code: RefusalCode::Identity, .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn a_member_that_moves_is_followed() {
    let (first, client) = pair(echo()).await;
    ask(&client, 1, "x").await.unwrap();
    let second = start(node(1), echo()).await;
    client.set_address(NodeId(1), second.local_addr().unwrap());
    first.shutdown().await;
    assert_eq!(ask(&client, 1, "y").await.unwrap(), "y");
    assert_eq!(client.address(NodeId(1)), second.local_addr());
}

#[tokio::test]
async fn a_forgotten_member_is_unknown() {
    let (_server, client) = pair(echo()).await;
    ask(&client, 1, "x").await.unwrap();
    client.forget(NodeId(1));
    assert_eq!(ask(&client, 1, "x").await, Err(PeerError::UnknownNode { node: NodeId(1) }));
}

/// A process that is stopped keeps its connections and says nothing.
#[tokio::test]
async fn a_silent_peer_is_lost_but_not_surely_dead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let server = start(node(1), echo()).await;
    let target = server.local_addr().unwrap();
    // Forwards a while, then swallows: the half-open connection of a paused machine.
    let (swallow, swallowing) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            let mut swallowing = swallowing.clone();
            tokio::spawn(async move {
                let told = async {
                    let _ = swallowing.wait_for(|swallow| *swallow).await;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = told => std::future::pending().await,
                }
            });
        }
    });
    let client = start(PeersOptions { limits: impatient(), ..client() }, echo()).await;
    client.set_address(NodeId(1), relay);
    let mut events = client.events();
    ask(&client, 1, "x").await.unwrap();
    swallow.send(true).unwrap();
    let sure = event(&mut events, |event| match event {
        PeerEvent::Lost { sure_dead, .. } => Some(*sure_dead),
        _ => None,
    });
    assert!(!sure.await);
}

#[tokio::test]
async fn after_shutdown_nothing_is_sent_and_the_port_is_free() {
    let (server, client) = pair(echo()).await;
    ask(&client, 1, "x").await.unwrap();
    client.shutdown().await;
    let error = client
        .request(server.local_addr().unwrap(), Lane::Commands, Bytes::new(), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error, PeerError::Closed);
    let address = server.local_addr().unwrap();
    server.shutdown().await;
    restart_at(address, 2).await;
}

#[tokio::test]
async fn dropping_the_last_clone_ends_everything() {
    let (server, client) = pair(echo()).await;
    ask(&client, 1, "x").await.unwrap();
    let mut events = client.events();
    drop(server);
    assert_eq!(event(&mut events, surely_dead).await, NodeId(1));
}
