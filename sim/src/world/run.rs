//! One run: the cluster forms, clients ask while faults happen, everything is mended, everything must answer again, and the history is judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use holm_core::{Entropy as _, SeededEntropy};
use holm_sharding::ShardState;
use tokio::task::JoinHandle;

use super::clients::{Client, Desk};
use super::faults::Schedule;
use super::observe::{
    asked_entities, ends, note_copies_behind, observe, read_logs, with_copies_behind,
};
use super::trace::{Listener, Trace};
use super::{Settings, World};
use crate::checks::{Report, Rules, SHARED, carried, judge, name_of};
use crate::history::History;
use crate::sometimes::{Situation, Sometimes};
use crate::workload::Workload;

/// How long a cluster may take to form.
const FORMING: Duration = Duration::from_secs(20);

/// How long clients may take to hear the last answer: the longest patience of a workload, and a little more.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// Quiet time after everything answered, in which copies become the same.
const SETTLING: Duration = Duration::from_secs(4);

/// How long there may be no moment in which they are. Holm itself stores a record now and then, which needs a moment to be everywhere.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// Pause between two looks at what a policy has done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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
    /// How often which fault happened; those that did not are there with zero.
    pub faults: BTreeMap<&'static str, u64>,
    /// The situations that were met.
    pub met: Sometimes,
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
    let listener = Listener::new(world.trace().clone(), world.met.clone());
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
        // A stream of its own: a change of the workload leaves the faults of a seed as they are.
        let workload = Workload::new(
            settings.seed ^ 0x3073_10AD,
            usize::from(settings.nodes),
            settings.limits.clone(),
        );
        let workload = if settings.relics { workload } else { workload.without_relics() };
        let desk = Desk {
            history: Rc::new(RefCell::new(History::default())),
            workload: Rc::new(RefCell::new(workload)),
            trace: world.trace().clone(),
        };
        let schedule = Schedule::new(settings, entropy.next_u64(), Duration::ZERO);
        Self { settings, world, desk, schedule, entropy, problems: Vec::new() }
    }

    fn run(mut self) -> Outcome {
        for machine in 0..self.world.machines() {
            self.world.start(machine);
        }
        let formed = self.world.run_until(FORMING, all_shards_served);
        let (mut recovered_in, mut caught_up, mut carried_out) = (None, Vec::new(), false);
        if formed {
            self.safety();
            recovered_in = self.liveness();
            if recovered_in.is_some() {
                carried_out = self.policy_catches_up();
                caught_up = self.groups_catch_up();
            }
            self.settle();
        } else {
            self.problems.push(format!("no cluster formed within {FORMING:?}"));
        }
        let problems =
            observe(self.world, self.settings.shards, &mut self.desk.history.borrow_mut());
        self.problems.extend(problems);
        self.take_what_was_followed();
        self.take_samples();
        let carried = self.world.wires().counts();
        self.world.met.met_times(Situation::MessageLost, carried.lost);
        self.world.met.met_times(Situation::MessageLate, carried.late);
        self.world.met.met_times(Situation::MessageTwice, carried.twice);
        let met = self.world.met.all(&self.desk.history.borrow());
        let rules = Rules {
            limits: self.settings.limits.clone(),
            registry: Some(self.settings.registry.clone().with_system_types()),
            healed: recovered_in.is_some(),
            caught_up,
            carried_out,
            ..Rules::default()
        };
        let report = judge(&self.desk.history.borrow(), &rules);
        Outcome {
            seed: self.settings.seed,
            faults: self.schedule.counts(),
            met,
            problems: self.problems,
            report,
            simulated: self.world.now(),
            recovered_in,
            trace: self.world.trace().clone(),
        }
    }

    /// Lets the copies become the same. When they do not, the judgement finds which one stays behind.
    fn settle(&mut self) {
        self.world.run_for(SETTLING);
        let shards = self.settings.shards;
        self.world.run_until(SAME_WITHIN, |world| with_copies_behind(world, shards) == 0);
    }

    /// Every group must get to where the logs end now. Those that do.
    fn groups_catch_up(&mut self) -> Vec<u64> {
        let followed = self.world.common.readers.followed.clone();
        let (ends, within) = (ends(self.world, self.settings.shards), self.settings.recovery);
        let mut caught_up = self.world.common.readers.groups();
        let all = |_: &World| caught_up.iter().all(|group| followed.has_passed(*group, &ends));
        self.world.run_until(within, all);
        caught_up.retain(|group| {
            let behind = followed.behind(*group, &ends);
            if behind.is_empty() {
                self.world.met.met(match *group {
                    SHARED => Situation::SharedCaughtUp,
                    _ => Situation::FollowersCaughtUp,
                });
                return true;
            }
            let name = name_of(*group);
            self.problems.push(format!(
                "after everything was mended, {name} is not where the logs ended, within {within:?}: {}",
                behind.join(", ")
            ));
            false
        });
        caught_up
    }

    /// Everything that the policy reacts to must have its effect. False when there is no policy, or it has not.
    fn policy_catches_up(&mut self) -> bool {
        if !self.world.common.readers.policy {
            return false;
        }
        let (shards, within) = (self.settings.shards, self.settings.recovery);
        let until = self.world.now() + within;
        loop {
            let mut history = History::default();
            // What cannot be read at this moment is read with the next look.
            let is_whole = read_logs(self.world, shards, &mut history).0.is_empty();
            let left = carried::left(&history);
            if is_whole && left == 0 {
                self.world.met.met(Situation::PolicyCaughtUp);
                return true;
            }
            if self.world.now() >= until {
                self.problems.push(format!(
                    "after everything was mended, {left} events are without what a policy does about them, within {within:?}"
                ));
                return false;
            }
            self.world.run_for(LOOK_AGAIN);
        }
    }

    fn take_what_was_followed(&mut self) {
        let (facts, problems) = self.world.common.readers.followed.take();
        self.problems.extend(problems);
        for fact in facts {
            if let Err(full) = self.desk.history.borrow_mut().observe_fact(fact) {
                return self.problems.push(full.to_string());
            }
        }
    }

    fn take_samples(&mut self) {
        for sample in std::mem::take(&mut self.world.samples) {
            if let Err(full) = self.desk.history.borrow_mut().observe_sample(sample) {
                return self.problems.push(full.to_string());
            }
        }
    }

    fn client(&mut self, number: u32) -> Client {
        Client {
            number,
            caller: self.world.callers().caller(),
            desk: self.desk.clone(),
            entropy: SeededEntropy::new(self.entropy.next_u64()),
        }
    }

    /// Clients ask, faults happen.
    fn safety(&mut self) {
        let until = self.world.now() + self.settings.duration;
        self.world.trace().note("# the cluster has formed; clients begin");
        let clients: Vec<JoinHandle<()>> = (0..self.settings.clients)
            .map(|number| {
                let client = self.client(number);
                self.world.callers().spawn(client.work(until))
            })
            .collect();
        while self.world.now() < until {
            self.schedule.act(self.world);
            self.world.tick();
        }
        note_copies_behind(self.world, self.settings.shards);
        self.schedule.heal(self.world);
        // What was asked before is answered, or given up, within its patience.
        let ended =
            self.world.run_until(LAST_ANSWERS, |_| clients.iter().all(JoinHandle::is_finished));
        if !ended {
            self.problems.push("a client waits for an answer long after its deadline".to_owned());
        }
    }

    /// Everything must answer through every door.
    fn liveness(&mut self) -> Option<Duration> {
        let began = self.world.now();
        let entities = asked_entities(&self.desk.history.borrow());
        let doors = (0..self.world.machines()).filter(|machine| self.world.belongs(*machine));
        let doors: Vec<usize> = doors.collect();
        let probes: Vec<JoinHandle<Duration>> = doors
            .into_iter()
            .zip(self.settings.clients..)
            .map(|(door, number)| {
                let client = self.client(number);
                self.world.callers().spawn(client.probe(door, entities.clone()))
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
