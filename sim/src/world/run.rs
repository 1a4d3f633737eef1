//! One run: the cluster forms, clients ask while faults happen, everything is mended, everything must answer again, and the history is judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use holm_core::{Entropy as _, NodeId, Offset, SeededEntropy, ShardId};
use holm_sharding::ShardState;
use tokio::task::JoinHandle;

use super::clients::{Client, Desk, probe, registers};
use super::faults::Schedule;
use super::trace::{Listener, Trace};
use super::{Settings, World};
use crate::checks::{Report, Rules, judge};
use crate::history::{History, Told};

/// How long a cluster may take to form.
const FORMING: Duration = Duration::from_secs(20);

/// Quiet time after everything answered, in which copies become the same.
const SETTLING: Duration = Duration::from_secs(4);

/// How a log says that it has no replica of a shard.
const MOVED: &str = "this node holds no replica of it";

/// Bytes of a log read back at once.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong beside broken promises: nothing answered, somebody panicked.
    pub problems: Vec<String>,
    /// What the checkers say.
    pub report: Report,
    /// How long the world lived.
    pub simulated: Duration,
    /// How long it took after mending until everything answered.
    pub recovered_in: Option<Duration>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// Everything in order.
    pub trace: Trace,
}

impl Outcome {
    /// Whether all is well.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.report.holds()
    }
}

/// Runs one world from its beginning to its judgement. The thread should be fresh: what it did before may show.
///
/// # Errors
/// When the world cannot be made.
pub fn run(settings: &Settings) -> std::io::Result<Outcome> {
    let mut world = World::new(settings)?;
    let listener = Listener::new(world.trace().clone());
    tracing::subscriber::with_default(listener, || Ok(Running::new(settings, &mut world).run()))
}

struct Running<'a> {
    settings: &'a Settings,
    world: &'a mut World,
    desk: Desk,
    schedule: Schedule,
    entropy: SeededEntropy,
    problems: Vec<String>,
}

impl<'a> Running<'a> {
    fn new(settings: &'a Settings, world: &'a mut World) -> Self {
        let mut entropy = SeededEntropy::new(settings.seed ^ 0x0C11_E575);
        let desk = Desk {
            history: Rc::new(RefCell::new(History::default())),
            trace: world.trace().clone(),
            entities: registers(settings.entities),
        };
        let schedule = Schedule::new(settings, entropy.next_u64(), Duration::ZERO);
        Self { settings, world, desk, schedule, entropy, problems: Vec::new() }
    }

    fn run(mut self) -> Outcome {
        for machine in 0..self.world.machines() {
            self.world.start(machine);
        }
        let formed = self.world.run_until(FORMING, all_shards_served);
        let mut recovered_in = None;
        if formed {
            self.safety();
            recovered_in = self.liveness();
            self.world.run_for(SETTLING);
        } else {
            self.problems.push(format!("no cluster formed within {FORMING:?}"));
        }
        self.observe();
        let rules = Rules {
            limits: self.settings.limits.clone(),
            registry: Some(self.settings.registry.clone()),
            healed: recovered_in.is_some(),
            ..Rules::default()
        };
        let report = judge(&self.desk.history.borrow(), &rules);
        Outcome {
            seed: self.settings.seed,
            counts: self.counts(),
            problems: self.problems,
            report,
            simulated: self.world.now(),
            recovered_in,
            trace: self.world.trace().clone(),
        }
    }

    /// Clients ask, faults happen.
    fn safety(&mut self) {
        let until = self.world.now() + self.settings.duration;
        self.world.trace().note("# the cluster has formed; clients begin");
        let clients: Vec<JoinHandle<()>> = (0..self.settings.clients)
            .map(|number| {
                let client = Client {
                    number,
                    caller: self.world.callers().caller(),
                    desk: self.desk.clone(),
                    entropy: SeededEntropy::new(self.entropy.next_u64()),
                    written: 0,
                    seen: BTreeMap::new(),
                };
                self.world.callers().spawn(client.work(until))
            })
            .collect();
        while self.world.now() < until {
            self.schedule.act(self.world);
            self.world.tick();
        }
        self.schedule.heal(self.world);
        // What was asked before is answered, or given up, within its patience.
        let ended = self
            .world
            .run_until(Duration::from_secs(10), |_| clients.iter().all(JoinHandle::is_finished));
        if !ended {
            self.problems.push("a client waits for an answer long after its deadline".to_owned());
        }
    }

    /// Everything must answer through every door.
    fn liveness(&mut self) -> Option<Duration> {
        let began = self.world.now();
        let probes: Vec<JoinHandle<Duration>> = (0..self.world.machines())
            .filter(|machine| self.world.belongs(*machine))
            .map(|door| {
                let entropy = SeededEntropy::new(self.entropy.next_u64());
                let caller = self.world.callers().caller();
                self.world.callers().spawn(probe(caller, door, self.desk.clone(), entropy))
            })
            .collect();
        let answered = self
            .world
            .run_until(self.settings.recovery, |_| probes.iter().all(JoinHandle::is_finished));
        let took = self.world.now() - began;
        if answered {
            self.world.trace().note(format_args!("# everything answers after {took:?}"));
            return Some(took);
        }
        let waiting = probes.iter().filter(|probe| !probe.is_finished()).count();
        self.problems.push(format!(
            "after everything was mended, {waiting} of {} doors do not answer for every entity within {:?}",
            probes.len(),
            self.settings.recovery
        ));
        None
    }

    /// Reads back what every node has.
    fn observe(&mut self) {
        for machine in 0..self.world.machines() {
            let Some(node) = self.world.node(machine) else { continue };
            for shard in 0..self.settings.shards {
                self.observe_shard(&node, ShardId(shard));
            }
        }
    }

    fn observe_shard(&mut self, node: &holm_sharding::ClusterNode, shard: ShardId) {
        let log = node.log();
        let holds = node
            .view()
            .shards
            .iter()
            .any(|view| view.id == shard && view.replicas.contains(&node.node()));
        if !holds {
            return;
        }
        let mut next = Offset(1);
        loop {
            let batches = match log.read(shard, next, READ_BYTES) {
                Ok(batches) => batches,
                // A replica that moved away since the view was taken.
                Err(error) if error.to_string().ends_with(MOVED) => return,
                Err(error) => {
                    let node = node.node();
                    self.problems.push(format!("node {node} cannot read shard {shard}: {error}"));
                    return;
                }
            };
            let Some(last) = batches.last() else { return };
            next = last.last().next();
            for batch in &batches {
                if let Err(error) = self.desk.history.borrow_mut().observe(node.node(), batch) {
                    self.problems.push(format!("{error}"));
                    return;
                }
            }
        }
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = self
            .schedule
            .counts()
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        let mut add = |name: &str, count: u64| {
            *counts.entry(name.to_owned()).or_default() += count;
        };
        let history = self.desk.history.borrow();
        for operation in history.operations() {
            match &operation.told {
                Told::Accepted { place, .. } | Told::Rejected { place, .. } => {
                    add("answered", 1);
                    if place.replayed {
                        add("answered from the record of an earlier try", 1);
                    }
                }
                told if told.is_unknown() => add("outcome unknown", 1),
                _ => add("surely not applied", 1),
            }
        }
        let leaders: std::collections::BTreeSet<(ShardId, NodeId)> = history
            .operations()
            .iter()
            .filter_map(|operation| operation.told.place())
            .map(|place| (place.shard, place.served_by))
            .collect();
        add("leaderships seen", leaders.len() as u64);
        counts
    }
}

pub(super) fn all_shards_served(world: &World) -> bool {
    (0..world.machines()).all(|machine| {
        world.node(machine).is_some_and(|node| {
            let view = node.view();
            !view.shards.is_empty()
                && view.shards.iter().all(|shard| shard.state == ShardState::Serving)
        })
    })
}
