//! The router against nodes whose shards are played by a fake host: who is asked, how often, and what the caller is told.

mod cluster;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AskError, Clock, Limit, NodeId, Offset, Outcome, SequenceNumber, ShardId, SystemClock, Term,
    Timestamp,
};
use holm_runtime::Inspector;
use holm_sharding::{Client, ClientError, ClientOptions, Lane, Message, ShardState};
use tokio::time::Instant;

use crate::support::PATIENCE;
use cluster::*;

#[tokio::test]
async fn a_command_reaches_its_leader_from_everywhere() {
    let cluster = Cluster::start(3, 2).await;
    let (_peers, outside) = cluster.client(10).await;
    let routers = cluster.nodes.iter().map(|node| &node.router).chain([&outside]);
    for (id, router) in (1..).zip(routers) {
        let answer = router.ask(command(id, PATIENCE)).await.unwrap();
        assert_eq!((answer.served_by, answer.replayed), (NodeId(2), false));
    }
    assert_eq!(cluster.node(2).host.asked.load(Ordering::SeqCst), 4);
    let page = outside.history("account/a".parse().unwrap(), SequenceNumber(7), 50).await.unwrap();
    assert_eq!((page.highest, page.head), (SequenceNumber(7), Offset(50)));
    let batches = cluster.node(1).router.batches(ShardId(0), Offset(3), 100).await.unwrap();
    assert_eq!(batches, [Bytes::from_static(b"3")]);
}

#[tokio::test]
async fn a_moved_shard_is_followed_and_a_leader_nobody_knows_is_found() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    outside.ask(command(1, PATIENCE)).await.unwrap();
    // Node 1 knows where the shard went; the client does not.
    cluster.lead(3);
    for shard in 0..SHARDS {
        cluster.node(1).router.learn(ShardId(shard), Some(NodeId(3)), Term(2));
    }
    assert_eq!(outside.ask(command(2, PATIENCE)).await.unwrap().served_by, NodeId(3));
    // Nobody knows.
    cluster.tell(None, 3, ShardState::Recovering);
    cluster.lead(2);
    assert_eq!(outside.ask(command(3, PATIENCE)).await.unwrap().served_by, NodeId(2));
}

/// What is sent is the time that is left, not a time of day: a node whose clock is an hour ahead would find every deadline passed.
#[tokio::test]
async fn a_deadline_is_the_receivers_own_time() {
    let cluster = Cluster::start(1, 1).await;
    let (peers, outside) = cluster.client(10).await;
    outside.ask(command(1, Duration::from_secs(4))).await.unwrap();
    let seen = cluster.node(1).host.deadline.lock().unwrap().unwrap();
    let left = seen.since(SystemClock.now());
    assert!(left > Duration::from_secs(2) && left <= Duration::from_secs(4), "{left:?}");

    let mut sent = command(2, PATIENCE);
    sent.deadline = Timestamp::EPOCH.plus(Duration::from_secs(3));
    let body = Message::Command(sent).encode();
    peers.request(NodeId(1), Lane::Commands, body, PATIENCE).await.unwrap();
    let seen = cluster.node(1).host.deadline.lock().unwrap().unwrap();
    let left = seen.since(SystemClock.now());
    assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(3), "{left:?}");
}

/// Promise G2: the connection is lost after the command was taken; the retry, with the same key at the new leader, takes no effect again.
#[tokio::test]
async fn a_retry_after_a_lost_connection_takes_effect_once() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    let old = cluster.node(1);
    old.host.silent.store(true, Ordering::SeqCst);
    let answer = tokio::spawn(outside.ask(command(1, PATIENCE)));
    while old.host.held.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    old.peers.shutdown().await;
    cluster.lead(2);
    cluster.tell(Some(2), 2, ShardState::Serving);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!((answer.served_by, answer.replayed), (NodeId(2), true));
    assert_eq!(old.host.effects.lock().unwrap().len(), 1);
}

/// A leader that is stopped keeps its connections and says nothing; its successor is asked long before the caller's deadline.
#[tokio::test]
async fn a_silent_leader_does_not_use_up_the_deadline() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    cluster.node(1).host.silent.store(true, Ordering::SeqCst);
    let answer = tokio::spawn(outside.ask(command(1, Duration::from_secs(10))));
    while cluster.asked() == 0 {
        tokio::task::yield_now().await;
    }
    cluster.lead(2);
    cluster.tell(Some(2), 2, ShardState::Serving);
    let began = Instant::now();
    assert!(answer.await.unwrap().unwrap().replayed);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}

/// A leader that is cut off may be named by others for a while, and asked again. Once somebody else leads, it is waited for no longer.
#[tokio::test]
async fn a_silent_leader_that_was_replaced_is_not_waited_for() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    let silent = cluster.node(1);
    silent.host.silent.store(true, Ordering::SeqCst);
    let answer = tokio::spawn(outside.ask(command(1, Duration::from_secs(10))));
    // The first try has its time, another node is asked and names the silent one, and that one is asked again.
    while silent.host.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    cluster.lead(2);
    cluster.tell(Some(2), 2, ShardState::Serving);
    assert_eq!(answer.await.unwrap().unwrap().served_by, NodeId(2));
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_leader_the_deadline_says_not_applied_and_few_tries_were_made() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    cluster.lead(0);
    cluster.tell(None, 2, ShardState::Recovering);
    let began = Instant::now();
    let error = outside.ask(command(1, Duration::from_millis(600))).await.unwrap_err();
    assert!(matches!(error, AskError::Unavailable { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(550) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(cluster.asked(), 0);
}

#[tokio::test]
async fn once_taken_the_outcome_stays_unknown() {
    let cluster = Cluster::start(2, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    let reason = "fenced".into();
    cluster.node(1).host.errors.lock().unwrap().push(AskError::Interrupted { reason });
    let answer = tokio::spawn(outside.ask(command(1, Duration::from_millis(700))));
    while cluster.asked() == 0 {
        tokio::task::yield_now().await;
    }
    cluster.lead(0);
    cluster.tell(None, 2, ShardState::Recovering);
    match answer.await.unwrap() {
        Err(error) => assert_eq!(error.outcome(), Outcome::Unknown),
        // The retry may be quicker than the news that the leader is gone.
        Ok(answer) => assert!(!answer.replayed),
    }
}

#[tokio::test]
async fn without_a_majority_callers_are_told_long_before_their_deadline() {
    let cluster = Cluster::start(2, 1).await;
    let (_peers, outside) = cluster.client(10).await;
    cluster.lead(0);
    cluster.tell(None, 2, ShardState::Unassigned);
    let began = Instant::now();
    let error = outside.ask(command(1, PATIENCE)).await.unwrap_err();
    assert!(
        matches!(error, AskError::Unavailable { outcome: Outcome::NotApplied, .. }),
        "{error:?}"
    );
    assert!(began.elapsed() < PATIENCE / 4);
    // It serves again as soon as the majority is back.
    cluster.lead(2);
    cluster.tell(Some(2), 3, ShardState::Serving);
    outside.ask(command(2, PATIENCE)).await.unwrap();
}

/// Promise G9.
#[tokio::test]
async fn commands_under_way_are_bounded() {
    let cluster = Cluster::start(1, 1).await;
    let (_peers, outside) = cluster.client(3).await;
    cluster.node(1).host.silent.store(true, Ordering::SeqCst);
    let waiting: Vec<_> =
        (0..3).map(|id| outside.ask(command(id, Duration::from_millis(300)))).collect();
    let error = outside.ask(command(9, PATIENCE)).await.unwrap_err();
    let limit = Limit::RequestsInFlight;
    assert_eq!(error, AskError::Overloaded { limit, allowed: 3 });
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap_err().outcome(), Outcome::Unknown);
    }
    cluster.node(1).host.silent.store(false, Ordering::SeqCst);
    outside.ask(command(10, PATIENCE)).await.unwrap();
}

#[tokio::test]
async fn a_local_shard_that_hangs_is_given_up_at_the_deadline() {
    let cluster = Cluster::start(1, 1).await;
    cluster.node(1).host.silent.store(true, Ordering::SeqCst);
    let patience = Duration::from_millis(100);
    let error = cluster.node(1).router.ask(command(1, patience)).await.unwrap_err();
    assert_eq!(error, AskError::DeadlinePassed { outcome: Outcome::Unknown });
    let late = command(2, Duration::ZERO);
    let error = cluster.node(1).router.ask(late).await.unwrap_err();
    assert_eq!(error, AskError::DeadlinePassed { outcome: Outcome::NotApplied });
}

#[tokio::test]
async fn a_client_learns_the_cluster_from_one_seed_and_survives_its_death() {
    let cluster = Cluster::start(3, 2).await;
    let seed = cluster.node(1).peers.local_addr().unwrap();
    let client = Client::connect(ClientOptions::new("test", vec![seed])).await.unwrap();
    assert_eq!(client.view().members.len(), 3);
    assert_eq!(client.router().ask(command(1, PATIENCE)).await.unwrap().served_by, NodeId(2));
    cluster.node(1).peers.shutdown().await;
    cluster.node(2).peers.shutdown().await;
    cluster.lead(3);
    cluster.tell(Some(3), 2, ShardState::Serving);
    assert_eq!(client.router().ask(command(2, PATIENCE)).await.unwrap().served_by, NodeId(3));
    let mut views = client.views();
    let fresh = views.wait_for(|view| view.version == 2);
    tokio::time::timeout(PATIENCE, fresh).await.unwrap().unwrap();
    client.close().await;
}

#[tokio::test]
async fn a_client_without_a_cluster_says_what_it_tried() {
    assert!(matches!(
        Client::connect(ClientOptions::new("test", vec![])).await,
        Err(ClientError::NoSeeds)
    ));
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = ClientOptions {
        connect_timeout: Duration::from_millis(200),
        ..ClientOptions::new("test", vec![nobody])
    };
    let error = Client::connect(options).await.err().unwrap().to_string();
    assert!(error.contains(&nobody.to_string()), "{error}");
}

#[tokio::test]
async fn many_commands_find_a_new_leader_together() {
    let cluster = Cluster::start(3, 1).await;
    let (_peers, outside) = cluster.client(1000).await;
    outside.ask(command(0, PATIENCE)).await.unwrap();
    cluster.node(1).peers.shutdown().await;
    let waiting: Vec<_> = (1..=500).map(|id| outside.ask(command(id, PATIENCE))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.lead(3);
    cluster.tell(Some(3), 2, ShardState::Serving);
    let mut keys = HashSet::new();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(answer.served_by, NodeId(3));
        assert!(keys.insert(answer.sequence), "each takes effect once");
    }
}
