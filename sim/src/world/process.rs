//! One process of a node: the real code of a member on a runtime of its own, whose time the world moves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holm_core::{
    Answer, AskError, Clock as _, CommandEnvelope, Entropy as _, Limits, SeededEntropy,
};
use holm_persistence::{Commit, Pump, SimulatedDisk, Store, StoreError, StoreOptions};
use holm_runtime::{HostOptions, Placement, Registry};
use holm_sharding::{
    ClusterNode, ClusterOptions, ConsensusTimes, HostSeat, HostedShards, Network, Secret,
    Surroundings,
};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;

use super::bus::{OnTheBus, Readers};
use super::gauges::Gauges;
use super::met::Met;
use super::network::Host;
use super::runtime;
use super::time::WallClock;
use super::watched::Watched;
use crate::history::{Moment, Sample};

/// Commands that a process takes from its callers before it has begun with them.
const ASKS_WAITING: usize = 1_024;

/// What all nodes of a world are told.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) registry: Registry,
    pub(super) limits: Limits,
    pub(super) shards: u32,
    pub(super) replication: u32,
    pub(super) expected_nodes: u32,
    pub(super) seeds: Vec<Host>,
    pub(super) down_after: Duration,
    pub(super) rest_after: Option<Duration>,
    pub(super) groups_overlap: bool,
    pub(super) confirms_at_once: bool,
    pub(super) met: Met,
    /// Who follows the bus on each node.
    pub(super) readers: Readers,
}

/// What one process is given.
pub(super) struct Given {
    pub(super) common: Common,
    pub(super) host: Host,
    pub(super) name: String,
    pub(super) disk: SimulatedDisk,
    pub(super) speed: DiskSpeed,
    pub(super) clock: WallClock,
    pub(super) network: Arc<dyn Network>,
    pub(super) seed: u64,
}

/// How long the disk takes to make something durable, at the moment.
#[derive(Debug, Clone)]
pub(super) struct DiskSpeed(Arc<Mutex<(Duration, Duration)>>);

impl DiskSpeed {
    pub(super) fn usual() -> Self {
        Self(Arc::new(Mutex::new(Self::USUAL)))
    }

    const USUAL: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(3));

    pub(super) fn set(&self, range: Option<(Duration, Duration)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = range.unwrap_or(Self::USUAL);
    }

    fn draw(&self, entropy: &mut SeededEntropy) -> Duration {
        let (least, most) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX).max(1);
        least + Duration::from_micros(entropy.below(spread))
    }
}

/// A command that a caller brings to a node.
pub(super) struct Ask {
    pub(super) envelope: CommandEnvelope,
    /// How long the caller waits.
    pub(super) patience: Duration,
    pub(super) reply: oneshot::Sender<Result<Answer, AskError>>,
}

/// What a process may be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// End, handing over what it leads.
    ShutDown,
    /// Leave the cluster for good.
    Leave,
}

/// How a process ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// It left the cluster.
    Left,
    /// It could not leave; it goes on only when it is started again.
    StillHere(String),
    /// Its data directory cannot be used.
    Unusable(StoreError),
    /// It could not become a member.
    NotStarted(String),
}

/// What the world may see of a process.
#[derive(Default)]
struct Inside {
    node: Option<ClusterNode>,
    store: Option<Arc<Store>>,
    ended: Option<Ended>,
    gauges: Gauges,
    groups: Groups,
}

/// How many groups of commits are on their way to the disk.
type Groups = Rc<Cell<usize>>;

/// A running process.
pub(super) struct Process {
    inside: Rc<RefCell<Inside>>,
    /// False from the moment at which it is dropped.
    alive: Arc<AtomicBool>,
    asks: mpsc::Sender<Ask>,
    orders: mpsc::Sender<Order>,
    local: Option<LocalSet>,
    runtime: Option<Runtime>,
}

impl Process {
    /// Begins; nothing runs before the first step.
    pub(super) fn start(given: Given) -> std::io::Result<Self> {
        let runtime = runtime::build(given.seed)?;
        let local = LocalSet::new();
        let alive = Arc::new(AtomicBool::new(true));
        let inside = Rc::new(RefCell::new(Inside::default()));
        let (asks, asked) = mpsc::channel(ASKS_WAITING);
        let (orders, ordered) = mpsc::channel(1);
        local.spawn_local(live(given, alive.clone(), inside.clone(), asked, ordered));
        Ok(Self { inside, alive, asks, orders, local: Some(local), runtime: Some(runtime) })
    }

    /// Lets it run for a while. `lag` of that time has passed before it gets to run at all.
    pub(super) fn step(&self, lag: Duration, span: Duration) {
        let (Some(runtime), Some(local)) = (&self.runtime, &self.local) else { return };
        runtime.block_on(local.run_until(async {
            if !lag.is_zero() {
                tokio::time::advance(lag).await;
            }
            tokio::time::sleep(span).await;
        }));
    }

    pub(super) fn node(&self) -> Option<ClusterNode> {
        self.inside.borrow().node.clone()
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.inside.borrow().ended.clone()
    }

    /// Whether it has read what was on its disk.
    pub(super) fn has_opened(&self) -> bool {
        self.inside.borrow().store.is_some()
    }

    /// Why its store takes no writes any more.
    pub(super) fn disk_failure(&self) -> Option<StoreError> {
        self.inside.borrow().store.as_ref()?.failure()
    }

    /// How many groups of commits are on their way to its disk.
    pub(super) fn groups_on_their_way(&self) -> usize {
        self.inside.borrow().groups.get()
    }

    /// What it holds at this moment of what is bounded; nothing before it is a member.
    pub(super) fn samples(&self, at: Moment) -> Vec<Sample> {
        let Inside { node, store, gauges, .. } = &*self.inside.borrow();
        let (Some(node), Some(store)) = (node, store) else { return Vec::new() };
        gauges.read(at, node, store).into()
    }

    /// Where callers bring their commands.
    pub(super) fn asks(&self) -> mpsc::Sender<Ask> {
        self.asks.clone()
    }

    pub(super) fn order(&self, order: Order) {
        // One that already has an order is ending anyway.
        let _ = self.orders.try_send(order);
    }
}

impl Drop for Process {
    /// Everything that runs in it is dropped where it stands, as in a crash.
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
        let Some(runtime) = self.runtime.take() else { return };
        {
            let _inside = runtime.enter();
            *self.inside.borrow_mut() = Inside::default();
            drop(self.local.take());
        }
        runtime.shutdown_background();
    }
}

/// A process from its first line to its last.
async fn live(
    given: Given,
    alive: Arc<AtomicBool>,
    inside: Rc<RefCell<Inside>>,
    asked: mpsc::Receiver<Ask>,
    ordered: mpsc::Receiver<Order>,
) {
    let ended = run(given, alive, &inside, asked, ordered).await;
    inside.borrow_mut().ended = Some(ended);
}

async fn run(
    given: Given,
    alive: Arc<AtomicBool>,
    inside: &RefCell<Inside>,
    asked: mpsc::Receiver<Ask>,
    mut ordered: mpsc::Receiver<Order>,
) -> Ended {
    let mut entropy = SeededEntropy::new(given.seed);
    let filled = Arc::new(Notify::new());
    let wake = filled.clone();
    let opened = given.disk.open(store_options(), Arc::new(move || wake.notify_one()));
    let (store, pump) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ended::Unusable(error),
    };
    inside.borrow_mut().store = Some(store.clone());
    let pumping = SeededEntropy::new(entropy.next_u64());
    let disk = Pumped {
        pump,
        speed: given.speed.clone(),
        entropy: RefCell::new(pumping),
        overlap: given.common.groups_overlap,
        groups: inside.borrow().groups.clone(),
    };
    tokio::task::spawn_local(disk.pump_forever(filled));
    let clock = given.clock.clone();
    let (common, seed) = (given.common.clone(), given.seed);
    let gauges = inside.borrow().gauges.clone();
    let seen = (alive, gauges.clone());
    let node = match ClusterNode::start_here(options(given, seen, store, &mut entropy)).await {
        Ok(node) => node,
        Err(error) => return Ended::NotStarted(error.to_string()),
    };
    inside.borrow_mut().node = Some(node.clone());
    let on_the_bus = OnTheBus::begin(&node, gauges.host(), &clock, &common, seed);
    tokio::task::spawn_local(serve(node.clone(), clock, asked));
    match ordered.recv().await {
        Some(Order::Leave) => match node.leave().await {
            Ok(()) => {
                on_the_bus.stop().await;
                Ended::Left
            }
            Err(error) => Ended::StillHere(error.to_string()),
        },
        Some(Order::ShutDown) | None => {
            on_the_bus.stop().await;
            node.shutdown().await;
            Ended::Stopped
        }
    }
}

fn store_options() -> StoreOptions {
    // The side file is written often, so that a run of a minute meets it in every state.
    StoreOptions { side_file_every: 256, ..StoreOptions::default() }
}

fn options(
    given: Given,
    (alive, gauges): (Arc<AtomicBool>, Gauges),
    store: Arc<Store>,
    entropy: &mut SeededEntropy,
) -> ClusterOptions {
    let Given { common, host, name, clock, network, .. } = given;
    let clock: Arc<dyn holm_core::Clock> = Arc::new(clock);
    let delays = Mutex::new(SeededEntropy::new(entropy.next_u64()));
    let read_delay = move || {
        let mut delays = delays.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(100 + delays.below(3_000))
    };
    let host_options = HostOptions {
        limits: common.limits.clone(),
        clock: clock.clone(),
        entropy_seed: entropy.next_u64(),
        placement: Placement::Here { read_delay: Arc::new(read_delay) },
        loaders: 2,
        ..HostOptions::new(common.registry.clone(), common.shards)
    };
    let (met, at_once) = (common.met.clone(), common.confirms_at_once);
    let start_host = Box::new(move |seat: HostSeat| {
        let watched = Watched::new(seat.log, met, alive, gauges.flights());
        let log = Arc::new(watched.confirming_at_once(at_once));
        let host = HostSeat { log, ..seat }.take(host_options)?;
        gauges.host_starts(&host);
        Ok(Arc::new(host) as Arc<dyn HostedShards>)
    });
    let surroundings = Surroundings::simulated(clock.clone(), network, entropy.next_u64());
    ClusterOptions {
        listen: host.address(),
        secret: Some(Secret::new("simulated")),
        seeds: common.seeds.iter().map(|seed| seed.address()).collect(),
        expected_nodes: common.expected_nodes,
        replication: common.replication,
        shards: common.shards,
        down_after: common.down_after,
        times: ConsensusTimes { rest_after: common.rest_after, ..ConsensusTimes::default() },
        surroundings,
        ..ClusterOptions::new("simulated", name, store, clock, start_host)
    }
}

/// The commits of a process on their way to its disk.
struct Pumped {
    pump: Pump,
    speed: DiskSpeed,
    entropy: RefCell<SeededEntropy>,
    overlap: bool,
    groups: Groups,
}

impl Pumped {
    /// Makes durable what is queued, as fast as the disk is.
    async fn pump_forever(self, filled: Arc<Notify>) {
        loop {
            filled.notified().await;
            self.pump.keep();
            while let Some(commit) = self.pump.begin() {
                self.groups.set(1);
                if commit.is_urgent() {
                    commit.finish();
                } else {
                    self.finish_in_time(commit).await;
                }
                self.groups.set(0);
                self.pump.keep();
            }
        }
    }

    /// Finishes a group after the time that the disk takes, and those that are begun behind it, each behind the one before.
    async fn finish_in_time(&self, mut commit: Commit<'_>) {
        loop {
            let takes = self.speed.draw(&mut self.entropy.borrow_mut());
            if !self.overlap {
                tokio::time::sleep(takes).await;
                return commit.finish();
            }
            tokio::time::sleep(takes / 2).await;
            let behind = self.pump.begin_behind(&commit);
            self.groups.set(1 + usize::from(behind.is_some()));
            tokio::time::sleep(takes / 2).await;
            commit.finish();
            self.groups.set(1);
            let Some(next) = behind else { return };
            self.pump.keep();
            commit = next;
        }
    }
}

/// Hands callers' commands to the node's router.
async fn serve(node: ClusterNode, clock: WallClock, mut asked: mpsc::Receiver<Ask>) {
    while let Some(Ask { mut envelope, patience, reply }) = asked.recv().await {
        envelope.deadline = clock.now().plus(patience);
        let answer = move |result| {
            // The caller may have gone.
            let _ = reply.send(result);
        };
        node.router().ask_with(envelope, Box::new(answer));
    }
}
