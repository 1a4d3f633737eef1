//! Requests and notices between two processes: answers, deadlines, limits, lanes, panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{NodeId, Outcome};
use holm_sharding::{Lane, PeerError, PeerInfo, Peers, PeersOptions, Responder};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::{Handling, PATIENCE, ask, client, echo, node, pair, start};

#[tokio::test]
async fn a_request_is_answered_on_every_lane_and_by_address_too() {
    let (server, client) = pair(echo()).await;
    for lane in [Lane::Control, Lane::Commands, Lane::Bulk] {
        let body = Bytes::from_static(b"hello");
        assert_eq!(client.request(NodeId(1), lane, body.clone(), PATIENCE).await, Ok(body));
    }
    let address = server.local_addr().unwrap();
    let body = Bytes::from_static(b"by address");
    assert_eq!(client.request(address, Lane::Control, body.clone(), PATIENCE).await, Ok(body));
    assert!(client.is_connected(NodeId(1)) && client.is_connected(address));
}

#[tokio::test]
async fn the_handler_learns_who_asks_also_when_the_id_comes_later() {
    let whoami = Handling(|from: &PeerInfo, _, _, respond: Responder| {
        respond.respond(format!("{} {} {:?}", from.node, from.name, from.listen).into());
    });
    let server = start(node(1), Arc::new(whoami)).await;
    let joiner =
        start(PeersOptions { me: crate::support::identity(0, 1), ..node(0) }, echo()).await;
    joiner.set_address(NodeId(1), server.local_addr().unwrap());
    let listen = joiner.local_addr();
    assert_eq!(ask(&joiner, 1, "").await.unwrap(), format!("0 holm-0 {listen:?}"));
    joiner.set_node(NodeId(7));
    // Told on the same connection, in front of or behind the next request; behind it at the latest.
    let expected = format!("7 holm-0 {listen:?}");
    while ask(&joiner, 1, "").await.unwrap() != expected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_answer_is_a_deadline_with_an_unknown_outcome() {
    let (kept, mut keeper) = tokio::sync::mpsc::unbounded_channel();
    let silent = Handling(move |_: &PeerInfo, _, _, respond: Responder| {
        let _ = kept.send(respond);
    });
    let (server, client) = pair(Arc::new(silent)).await;
    let deadline = Duration::from_millis(50);
    let answer = client.request(NodeId(1), Lane::Commands, Bytes::new(), deadline).await;
    let address = server.local_addr().unwrap();
    assert_eq!(answer, Err(PeerError::Deadline { address, outcome: Outcome::Unknown }));
    // The answer that comes now finds nobody, and harms nobody.
    keeper.recv().await.unwrap().respond(Bytes::from_static(b"late"));
    let (left, right) = tokio::join!(ask(&client, 1, "next"), async {
        keeper.recv().await.unwrap().respond(Bytes::from_static(b"in time"));
    });
    assert_eq!((left.unwrap(), right), (Bytes::from_static(b"in time"), ()));
}

#[tokio::test]
async fn a_dropped_request_is_told_at_once() {
    let (_server, client) =
        pair(Arc::new(Handling(|_: &PeerInfo, _, _, respond: Responder| drop(respond)))).await;
    let error = ask(&client, 1, "x").await.unwrap_err();
    assert!(matches!(error, PeerError::Dropped { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn a_request_that_is_not_understood_ends_the_connection_and_the_next_works() {
    let picky = Handling(|_: &PeerInfo, _, body: Bytes, respond: Responder| {
        if body == "garbage" { respond.reject("layout 200") } else { respond.respond(body) }
    });
    let (_server, client) = pair(Arc::new(picky)).await;
    let error = ask(&client, 1, "garbage").await.unwrap_err();
    assert!(error.to_string().contains("layout 200"), "{error}");
    crate::support::ask_until_answered(&client, 1).await;
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_one_connection() {
    let touchy = Handling(|_: &PeerInfo, _, body: Bytes, respond: Responder| {
        assert!(body != "poison", "the panic that this test is about");
        respond.respond(body);
    });
    let (server, poisoner) = pair(Arc::new(touchy)).await;
    let neighbour = start(client(), echo()).await;
    neighbour.set_address(NodeId(1), server.local_addr().unwrap());
    ask(&neighbour, 1, "before").await.unwrap();
    let error = ask(&poisoner, 1, "poison").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(neighbour.is_connected(NodeId(1)));
    ask(&neighbour, 1, "after").await.unwrap();
    crate::support::ask_until_answered(&poisoner, 1).await;
}

#[tokio::test]
async fn long_messages_travel_in_chunks_and_too_long_ones_do_not() {
    let (_server, client) = pair(echo()).await;
    let long: Bytes = (0..20_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let answer = client.request(NodeId(1), Lane::Bulk, long.clone(), PATIENCE).await.unwrap();
    assert!(answer == long);
    let error = client.request(NodeId(1), Lane::Commands, long, PATIENCE).await.unwrap_err();
    assert!(matches!(error, PeerError::TooLarge { actual: 20_000_000, .. }), "{error:?}");
}

/// Promise G9: what passes a limit gets an error that names it.
#[tokio::test]
async fn requests_in_flight_are_bounded_on_both_sides() {
    let kept = std::sync::Mutex::new(Vec::new());
    let silent = Handling(move |_: &PeerInfo, _, _, respond: Responder| {
        kept.lock().unwrap().push(respond);
    });
    let mut options = node(1);
    options.limits.requests_in_flight = 3;
    let server = start(options, Arc::new(silent)).await;
    let mut options = client();
    options.limits.requests_in_flight = 5;
    let client = start(options, echo()).await;
    client.set_address(NodeId(1), server.local_addr().unwrap());
    let request = || client.request(NodeId(1), Lane::Commands, Bytes::new(), PATIENCE);
    let _waiting: Vec<_> = (0..3).map(|_| request()).collect();
    let refused_there = [request(), request()];
    for refused in refused_there {
        let error = refused.await.unwrap_err();
        assert!(matches!(error, PeerError::Overloaded { allowed: 3, .. }), "{error:?}");
    }
    let _more = [request(), request()];
    let error = request().await.unwrap_err();
    assert!(matches!(error, PeerError::Overloaded { allowed: 5, .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

/// Promise G2: what was called not applied, because its deadline came before the handshake was over, is not sent when the handshake is over after all.
#[tokio::test]
async fn a_request_that_was_called_not_sent_is_never_sent() {
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handling(move |_: &PeerInfo, _, body: Bytes, respond: Responder| {
        seen.send(body.clone()).unwrap();
        respond.respond(body);
    });
    let server = start(node(1), Arc::new(handler)).await;
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = start(client(), echo()).await;
    client.set_address(NodeId(1), door.local_addr().unwrap());
    for (lane, bytes) in [(Lane::Commands, 10), (Lane::Bulk, 200_000)] {
        let body = Bytes::from(vec![1; bytes]);
        let error = client.request(NodeId(1), lane, body, Duration::from_millis(30)).await;
        assert_eq!(error.unwrap_err().outcome(), Outcome::NotApplied);
    }
    let patient = client.request(NodeId(1), Lane::Bulk, Bytes::from(vec![2; 200_000]), PATIENCE);
    let (mut near, _) = door.accept().await.unwrap();
    let mut far = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    assert_eq!(patient.await.unwrap().len(), 200_000);
    ask(&client, 1, "last").await.unwrap();
    assert_eq!(arrived.recv().await.unwrap()[..2], [2, 2]);
    assert_eq!(arrived.recv().await.unwrap(), "last");
}

/// Law F17: saturation by large messages does not disturb heartbeats.
#[tokio::test]
async fn bulk_does_not_delay_control() {
    let (_server, client) = pair(echo()).await;
    ask(&client, 1, "connect").await.unwrap();
    let bulk = Bytes::from(vec![1; 48 << 20]);
    let transfer = client.request(NodeId(1), Lane::Bulk, bulk, PATIENCE * 3);
    let transfer = tokio::spawn(transfer);
    let mut worst = Duration::ZERO;
    let mut beats = 0;
    while !transfer.is_finished() {
        let began = Instant::now();
        let body = Bytes::from_static(b"beat");
        client.request(NodeId(1), Lane::Control, body, PATIENCE).await.unwrap();
        worst = worst.max(began.elapsed());
        beats += 1;
    }
    transfer.await.unwrap().unwrap();
    assert!(beats > 20, "{beats} beats");
    assert!(worst < Duration::from_millis(250), "a heartbeat took {worst:?}");
}

#[tokio::test]
async fn notices_arrive_in_order() {
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let (_server, client) =
        pair(Arc::new(Handling(move |_: &PeerInfo, _, body: Bytes, respond: Responder| {
            assert!(!respond.is_wanted());
            let _ = seen.send(body);
        })))
        .await;
    for n in 0..1000u32 {
        client.notify(NodeId(1), Lane::Bulk, n.to_string().into()).unwrap();
    }
    for n in 0..1000u32 {
        assert_eq!(arrived.recv().await.unwrap(), n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_may_wait_on_another_runtime() {
    let (_server, client) = pair(echo()).await;
    let elsewhere = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { ask(&client, 1, "from afar").await })
            })
            .join()
            .unwrap()
    });
    assert_eq!(elsewhere.unwrap(), "from afar");
}

/// Not a benchmark: a floor far below what the transport does, so that a task or a write per message is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_requests_share_writes() {
    const REQUESTS: u64 = 40_000;
    let (_server, client) = pair(echo()).await;
    ask(&client, 1, "connect").await.unwrap();
    let began = Instant::now();
    flood(&client, REQUESTS, 1024).await;
    let rate = REQUESTS as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} echo requests/s with 1,024 in flight");
    assert!(rate > 5_000.0, "{rate} requests/s");
}

/// Keeps `in_flight` requests under way until `requests` were answered.
async fn flood(client: &Peers, requests: u64, in_flight: u64) {
    let left = Arc::new(AtomicU64::new(requests));
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..in_flight {
        one_more(client.clone(), left.clone(), done.clone());
    }
    drop(done);
    assert!(finished.recv().await.is_none(), "no request fails");
}

fn one_more(client: Peers, left: Arc<AtomicU64>, failed: tokio::sync::mpsc::UnboundedSender<()>) {
    if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    {
        return;
    }
    let again = client.clone();
    let body = Bytes::from_static(&[7; 100]);
    client.request_with(NodeId(1), Lane::Commands, body, PATIENCE, move |answer| match answer {
        Ok(_) => one_more(again, left, failed),
        Err(_) => drop(failed.send(())),
    });
}
