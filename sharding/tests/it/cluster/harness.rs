//! A cluster under test: nodes that can be started, killed and started again, each with a counting entity on top.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use holm_core::{Clock, CommandEnvelope, EntityAddress, NodeId, SeededEntropy, SystemClock};
use holm_persistence::{Store, StoreOptions};
use holm_runtime::{
    AskOptions, Asker, Asking, Caller, Command, Commands, Context, Effect, Entity, EntityError,
    EntityRef, Event, Failures, Handle, HostOptions, NoRejection, Read, Registry, ShardHost,
};
use holm_sharding::{
    ClusterNode, ClusterOptions, ClusterView, HostSeat, HostedShards, Router, ShardState,
    StartError,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Handle as Thread;

use crate::support::PATIENCE;

pub(crate) const SHARDS: u32 = 4;

/// Counts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    total: u64,
}

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum TallyEvent {
    Added { amount: u64 },
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Add {
    pub(crate) amount: u64,
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Total {}

impl Entity for Tally {
    const TYPE: &'static str = "tally";
    type Event = TallyEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &TallyEvent) {
        let TallyEvent::Added { amount } = event;
        self.total += amount;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Add>().read::<Total>();
    }
}

impl Handle<Add> for Tally {
    fn handle(
        &self,
        add: Add,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        Ok(cx.persist(TallyEvent::Added { amount: add.amount }).reply(|tally| tally.total))
    }
}

impl Read<Total> for Tally {
    fn read(&self, _: Total, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
        Ok(self.total)
    }
}

/// A node that runs.
pub(crate) struct Running {
    pub(crate) node: ClusterNode,
    pub(crate) store: Arc<Store>,
    host: ShardHost,
    caller: Arc<Caller>,
    /// Where everything of the node runs but its entities.
    thread: Thread,
}

/// A node whose thread stands still until this is dropped: its connections stand, and nobody answers.
pub(crate) struct Paused(
    #[expect(dead_code, reason = "its end is what the thread waits for")] mpsc::Sender<()>,
);

impl Running {
    /// Lets the node stand still.
    pub(crate) fn pause(&self) -> Paused {
        let (paused, until) = mpsc::channel::<()>();
        self.thread.spawn(async move { until.recv() });
        Paused(paused)
    }

    pub(crate) fn tally(&self, id: &str) -> EntityRef<Tally> {
        EntityRef::new(self.caller.clone(), id)
    }

    /// What failed in the cluster, as its log of failures has it.
    pub(crate) fn failures(&self) -> Failures {
        Failures::new(self.caller.clone())
    }

    pub(crate) async fn add(&self, id: &str, amount: u64) -> Result<u64, EntityError<NoRejection>> {
        self.tally(id).ask(Add { amount }).await
    }

    /// Waits until the node's picture of the cluster is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&ClusterView) -> bool,
    ) -> Arc<ClusterView> {
        let mut views = self.node.views();
        let seen = tokio::time::timeout(PATIENCE, views.wait_for(|view| wanted(view))).await;
        match seen {
            Ok(view) => view.expect("the node runs").clone(),
            Err(_) => {
                panic!("{what}: not within {PATIENCE:?}; the view is {:#?}", self.node.view())
            }
        }
    }

    /// Waits until every shard is served.
    pub(crate) async fn until_serving(&self) -> Arc<ClusterView> {
        self.until("every shard serves", all_serving).await
    }
}

pub(crate) fn all_serving(view: &ClusterView) -> bool {
    view.shards.len() == SHARDS as usize
        && view.shards.iter().all(|shard| shard.state == ShardState::Serving)
}

/// What is fixed of a node.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
}

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) places: Vec<Place>,
    pub(crate) seeds: Vec<SocketAddr>,
    pub(crate) expected: u32,
    pub(crate) erase_after: Duration,
}

impl Cluster {
    /// Places for this many nodes, all of which are seeds.
    pub(crate) fn of(count: usize) -> Self {
        let places: Vec<Place> = (1..=count).map(|number| place(&format!("n{number}"))).collect();
        let seeds = places.iter().map(|place| place.address).collect();
        let erase_after = Duration::from_secs(600);
        Self { places, seeds, expected: u32::try_from(count).unwrap(), erase_after }
    }

    /// Adds a place that is no seed.
    pub(crate) fn add_place(&mut self) -> usize {
        let number = self.places.len() + 1;
        self.places.push(place(&format!("n{number}")));
        number - 1
    }

    /// Starts one node.
    pub(crate) async fn start(&self, index: usize) -> Running {
        self.try_start(index, |_| {}).await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    /// Starts one node with other options.
    pub(crate) async fn try_start(
        &self,
        index: usize,
        change: impl FnOnce(&mut ClusterOptions),
    ) -> Result<Running, StartError> {
        let place = &self.places[index];
        let store = open_store(place.dir.path()).await;
        let slot = Arc::new(OnceLock::new());
        let start_host = {
            let slot = slot.clone();
            Box::new(move |seat: HostSeat| seat_host(seat, &slot))
        };
        let mut options = ClusterOptions {
            listen: place.address,
            seeds: self.seeds.clone(),
            expected_nodes: self.expected,
            shards: SHARDS,
            down_after: Duration::from_secs(2),
            erase_after: self.erase_after,
            ..ClusterOptions::new(
                "test",
                place.name.clone(),
                store.clone(),
                Arc::new(SystemClock),
                start_host,
            )
        };
        change(&mut options);
        let node = ClusterNode::start(options).await?;
        let (host, thread) = slot.get().expect("a node that started has its host").clone();
        let asker = Arc::new(Routed(node.router().clone()));
        let caller = Caller::new(
            asker,
            Arc::new(SystemClock),
            Duration::from_secs(10),
            SeededEntropy::from_os(),
        );
        Ok(Running { node, store, host, caller, thread })
    }

    /// Starts all nodes at the same time.
    pub(crate) async fn start_all(&self) -> Vec<Running> {
        futures::future::join_all((0..self.places.len()).map(|index| self.start(index))).await
    }
}

/// Ends a node without a word, as far as that is possible inside one process; resolves when its port is free again, as a dead process's is.
pub(crate) async fn kill(running: Running) {
    let Running { node, store, host, caller, .. } = running;
    let address = node.peer_address();
    drop((node, store, caller));
    host.stop().await;
    while TcpListener::bind(address).is_err() || UdpSocket::bind(address).is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn place(name: &str) -> Place {
    Place { name: name.to_owned(), address: free_address(), dir: tempfile::tempdir().unwrap() }
}

/// An address that nobody else uses while the test runs. A loopback address of its own, because a port of the common one may be taken by an
/// outgoing connection of another test while the node is down.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., process] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, process, high, low);
    TcpListener::bind((own, 0))
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}

/// A killed node's store is closed by its last thread; until then it is locked.
async fn open_store(dir: &Path) -> Arc<Store> {
    let tries = async {
        loop {
            match Store::open(dir, StoreOptions::default()) {
                Ok(store) => return store,
                Err(error) => {
                    tracing::debug!(%error, "the store is still open");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, tries)
        .await
        .expect("the store of a dead node is closed sooner or later")
}

fn seat_host(
    seat: HostSeat,
    slot: &OnceLock<(ShardHost, Thread)>,
) -> Result<Arc<dyn HostedShards>, String> {
    let registry = Registry::new().entity::<Tally>();
    let options = HostOptions { arbiters: 1, ..HostOptions::new(registry, seat.shards) };
    let host = seat.take(options)?;
    let (host, _) = slot.get_or_init(|| (host, Thread::current()));
    Ok(Arc::new(host.clone()))
}

struct Routed(Router);

impl Asker for Routed {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        self.0.ask(envelope)
    }
}

/// Options with a deadline from now.
pub(crate) fn within(limit: Duration) -> AskOptions {
    AskOptions { deadline: Some(SystemClock.now().plus(limit)), ..AskOptions::default() }
}

/// Ids of tallies that together touch every shard.
pub(crate) fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number}")).collect()
}

/// Which node leads the shard of an entity.
pub(crate) fn leader_of(view: &ClusterView, id: &str) -> NodeId {
    let address = EntityAddress::new(Tally::TYPE, id).unwrap();
    let shard = holm_core::shard_of(&address, SHARDS);
    view.shard(shard).and_then(|shard| shard.leader).expect("the shard has a leader")
}
