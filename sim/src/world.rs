//! The world: a whole cluster on one thread from one seed. Every node is the real code of a member on a runtime of its own, whose time moves only when
//! the world moves it; network and disks are simulated, and everything that is left to chance follows from the seed.
//!
//! A world moves in ticks of a millisecond: what is due arrives, then every process runs until it has nothing to do at this time, then the callers run.
//! So one order of events follows from one seed, and two runs of it are the same. One seed needs one fresh thread at least: what a thread has drawn before
//! shows in some libraries.

mod bus;
mod callers;
mod clients;
mod faults;
mod follower;
mod gauges;
mod machine;
mod met;
mod network;
mod observe;
mod policy;
mod process;
mod run;
mod runtime;
mod settings;
mod shared;
mod time;
mod trace;
mod trial;
mod watched;

use std::time::Duration;

use holm_core::{Entropy as _, SeededEntropy};
use holm_persistence::{Crash, Damage};
use holm_sharding::ClusterNode;

pub use self::callers::{Caller, Callers, Refusal};
pub use self::network::{Counts, Host, Quality, Wires};
pub use self::run::{Outcome, run};
pub use self::runtime::is_repeatable;
pub use self::settings::{EDITION, FaultWeights, Settings};
pub use self::time::{Clocks, WallClock, WorldTime};
pub use self::trace::Trace;
pub use self::trial::{Guest, Trial, TrialFailed};

use self::bus::Readers;
use self::clients::moment;
use self::machine::Machine;
use self::met::Met;
use self::process::{Common, Order};
use crate::history::Sample;

/// How far time moves at once.
pub const TICK: Duration = Duration::from_millis(1);

/// A cluster, its network and its callers.
pub struct World {
    time: WorldTime,
    now: Duration,
    wires: Wires,
    trace: Trace,
    common: Common,
    machines: Vec<Machine>,
    callers: Callers,
    met: Met,
    entropy: SeededEntropy,
    clocks: Clocks,
    seed: u64,
    edition: u32,
    /// What the nodes held, once in a second.
    samples: Vec<Sample>,
}

impl World {
    /// A world in which nothing runs yet.
    ///
    /// # Errors
    /// When the callers' runtime cannot be built.
    pub fn new(settings: &Settings) -> std::io::Result<Self> {
        let mut entropy = SeededEntropy::new(settings.seed);
        holm_sharding::seed_consensus(entropy.next_u64());
        let time = WorldTime::default();
        let wires = Wires::new(entropy.next_u64(), settings.deaths_are_seen);
        let hosts: Vec<Host> = (1..=settings.nodes).map(Host).collect();
        let met = Met::default();
        let common = Common {
            registry: settings.registry.clone(),
            limits: settings.limits.clone(),
            shards: settings.shards,
            replication: settings.replication,
            expected_nodes: u32::from(settings.nodes),
            seeds: hosts.clone(),
            down_after: settings.down_after,
            rest_after: settings.rest_after,
            groups_overlap: settings.groups_overlap,
            confirms_at_once: settings.confirms_at_once,
            met: met.clone(),
            readers: Readers::of(settings, &met),
        };
        let (seed, clocks) = (settings.seed, settings.clocks);
        let machines = hosts.iter().map(|host| {
            let clock = clocks.clock(seed, *host, &time);
            Machine::new(*host, clock, &time, &met, entropy.next_u64())
        });
        let machines: Vec<Machine> = machines.collect();
        let callers = Callers::new(&time, machines.len(), entropy.next_u64())?;
        let trace = Trace::new(time.clone());
        Ok(Self {
            time,
            now: Duration::ZERO,
            wires,
            trace,
            common,
            machines,
            callers,
            met,
            entropy,
            clocks,
            seed,
            edition: settings.edition,
            samples: Vec::new(),
        })
    }

    /// The time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The network.
    #[must_use]
    pub fn wires(&self) -> &Wires {
        &self.wires
    }

    /// Those who ask.
    #[must_use]
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// How many machines there are.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.machines.len()
    }

    /// The member on a machine, when it has become one.
    #[must_use]
    pub fn node(&self, machine: usize) -> Option<ClusterNode> {
        self.machines[machine].node()
    }

    /// Whether a process runs on a machine.
    #[must_use]
    pub fn is_running(&self, machine: usize) -> bool {
        self.machines[machine].is_running()
    }

    /// Whether a machine's node is or shall be a member.
    #[must_use]
    pub fn belongs(&self, machine: usize) -> bool {
        self.machines[machine].belongs()
    }

    /// Starts the process of a machine.
    pub fn start(&mut self, machine: usize) {
        self.machines[machine].start(&self.common, &self.wires, &self.trace);
    }

    /// Ends the process of a machine where it stands.
    pub fn crash(&mut self, machine: usize, crash: Crash) {
        self.machines[machine].crash(crash, &self.wires, &self.trace);
    }

    /// Damages the disk of a machine whose process does not run.
    pub fn damage(&mut self, machine: usize, damage: Damage) {
        self.machines[machine].damage(damage, &self.trace);
    }

    /// Ends the process of a machine in order: what it leads is handed over.
    pub fn shut_down(&mut self, machine: usize) {
        self.machines[machine].order(Order::ShutDown, &self.trace);
    }

    /// Makes the node of a machine leave the cluster.
    pub fn leave(&mut self, machine: usize) {
        self.machines[machine].order(Order::Leave, &self.trace);
    }

    /// Adds a machine and starts a node on it, which joins.
    pub fn join(&mut self) -> usize {
        let number = u8::try_from(self.machines.len() + 1).unwrap_or(u8::MAX);
        let clock = self.clocks.clock(self.seed, Host(number), &self.time);
        let seed = self.entropy.next_u64();
        self.machines.push(Machine::new(Host(number), clock, &self.time, &self.met, seed));
        self.callers.make_room(self.machines.len());
        let last = self.machines.len() - 1;
        self.start(last);
        last
    }

    /// Moves time by one tick.
    pub fn tick(&mut self) {
        self.now += TICK;
        self.time.set(self.now);
        self.wires.advance(self.now);
        let Self { machines, common, wires, trace, now, callers, samples, .. } = self;
        for (number, machine) in machines.iter_mut().enumerate() {
            machine.tick(*now, TICK, common, wires, trace);
            callers.set_door(number, machine.known_as(), machine.process());
        }
        trace.enter(Some("callers"));
        callers.step(TICK);
        trace.enter(None);
        if now.as_millis().is_multiple_of(1_000) {
            let running = machines.iter().filter_map(Machine::process);
            samples.extend(running.flat_map(|process| process.samples(moment(*now))));
            let counts = wires.counts();
            trace.note(format_args!(
                "# network: {} packets, {} bytes, {} broken, {} refused, digest {:016x}",
                counts.packets, counts.bytes, counts.broken, counts.refused, counts.digest
            ));
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    /// Lets time pass until something holds; false when it does not within the limit.
    pub fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now + limit;
        loop {
            if holds(self) {
                return true;
            }
            if self.now >= until {
                return false;
            }
            self.tick();
        }
    }
}
