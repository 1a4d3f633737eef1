//! The death of a process on the same machine: known for certain, and only then.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holm_core::NodeId;
use holm_sharding::{PeerEvent, Peers, PeersOptions};
use tokio::sync::broadcast;

use crate::support::{ask_until_answered, client, echo, event, identity, loopback, node, start};

/// The id of the process that is to die, and where it listens.
const CHILD: &str = "HOLM_TEST_CHILD_THAT_DIES";

const INCARNATION: u64 = 7;

fn died(event: &PeerEvent) -> Option<(NodeId, u64)> {
    match event {
        PeerEvent::Died { node, incarnation, .. } => Some((*node, *incarnation)),
        _ => None,
    }
}

fn connected(event: &PeerEvent) -> Option<()> {
    matches!(event, PeerEvent::Connected { .. }).then_some(())
}

fn port_refuses(event: &PeerEvent) -> Option<()> {
    matches!(event, PeerEvent::Lost { sure_dead: true, .. }).then_some(())
}

/// Not a test by itself: what the child process does. It listens, says where, and closes everything that it has towards the others when it is told to. It
/// lives on until it is killed.
#[tokio::test]
async fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (id, listen) = given.split_once(' ').unwrap();
    let options = PeersOptions {
        listen: Some(listen.parse().unwrap()),
        ..PeersOptions::new("test", identity(id.parse().unwrap(), INCARNATION))
    };
    let peers = start(options, echo()).await;
    println!("\nlistening on {}", peers.local_addr().unwrap());
    let told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    told.await.unwrap().unwrap();
    peers.shutdown().await;
    std::future::pending::<()>().await;
}

struct Dying(Child);

impl Dying {
    /// Starts the child, and a node that follows it.
    async fn followed_by(options: PeersOptions) -> (Self, Peers, broadcast::Receiver<PeerEvent>) {
        Self::of_id_followed_by(1, options).await
    }

    async fn of_id_followed_by(
        id: u64,
        options: PeersOptions,
    ) -> (Self, Peers, broadcast::Receiver<PeerEvent>) {
        let (child, address) = Self::listening(id, loopback());
        let peers = start(options, echo()).await;
        let mut events = peers.events();
        peers.set_address(NodeId(1), address);
        event(&mut events, connected).await;
        // Nothing is asked of a process before it is followed.
        ask_until_answered(&peers, 1).await;
        (child, peers, events)
    }

    fn listening(id: u64, at: SocketAddr) -> (Self, SocketAddr) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["deaths::child", "--exact", "--nocapture"])
            .env(CHILD, format!("{id} {at}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let child = Self(child);
        let address = said
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
            .expect("the child says where it listens");
        (child, address)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_death_of_a_process_on_this_machine_is_certain() {
    let (child, _peers, mut events) = Dying::followed_by(node(2)).await;
    child.kill();
    assert_eq!(event(&mut events, died).await, (NodeId(1), INCARNATION));
}

/// Whoever is expected at an address may live elsewhere by now.
#[tokio::test]
async fn a_process_without_an_id_dies_for_nobody() {
    let (child, _peers, mut events) = Dying::of_id_followed_by(0, node(2)).await;
    child.kill();
    assert_eq!(event(&mut events, died).await, (NodeId::ZERO, INCARNATION));
}

/// A node whose disk was emptied counts its starts from the first again.
#[tokio::test]
async fn another_process_with_the_same_number_of_its_start_is_followed_too() {
    let (child, peers, mut events) = Dying::followed_by(node(2)).await;
    child.kill();
    event(&mut events, died).await;
    let address = peers.address(NodeId(1)).unwrap();
    let (child, _) = Dying::listening(1, address);
    event(&mut events, connected).await;
    ask_until_answered(&peers, 1).await;
    child.kill();
    assert_eq!(event(&mut events, died).await, (NodeId(1), INCARNATION));
}

/// A process that closed its port and its connections looks dead over the network, and lives.
#[tokio::test]
async fn a_process_that_closed_everything_and_lives_is_not_dead() {
    let (mut child, _peers, mut events) = Dying::followed_by(node(2)).await;
    let mut seen = events.resubscribe();
    child.0.stdin.as_mut().unwrap().write_all(b"close\n").unwrap();
    event(&mut events, port_refuses).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    while let Ok(told) = seen.try_recv() {
        assert_eq!(died(&told), None, "{told:?}");
    }
    child.kill();
    assert_eq!(event(&mut events, died).await, (NodeId(1), INCARNATION));
}

/// Who leads nothing has nobody to succeed.
#[tokio::test]
async fn a_client_is_not_told() {
    let (child, _peers, mut events) = Dying::followed_by(client()).await;
    let mut seen = events.resubscribe();
    child.kill();
    event(&mut events, port_refuses).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    while let Ok(told) = seen.try_recv() {
        assert_eq!(died(&told), None, "{told:?}");
    }
}
