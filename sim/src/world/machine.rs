//! A machine of the world: a disk, a wall clock, and a process when one runs on it. Who looks after it stands in `care`, which of its groups rest in
//! `rests`.

mod care;
mod rests;

use std::time::Duration;

use holm_core::{Entropy as _, NodeId, SeededEntropy, ShardId};
use holm_persistence::{Crash, Damage, SimulatedDisk, Spot};
use holm_sharding::{ClusterNode, ConsensusTimes};

use self::rests::Rests;
use super::met::{Death, Met};
use super::network::{Host, Wires};
use super::process::{Common, DiskSpeed, Given, Order, Process};
use super::time::{WallClock, WorldTime};
use super::trace::Trace;
use crate::sometimes::Situation;

/// What is wanted of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Running,
    /// Down until somebody starts it.
    Down,
    /// It left the cluster, or is on its way out.
    Gone,
}

/// How often the process gets to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Usual,
    /// Once in so many ticks.
    Slow(u64),
    /// Not at all.
    Paused,
}

pub(super) struct Machine {
    pub(super) host: Host,
    pub(super) name: String,
    pub(super) disk: SimulatedDisk,
    pub(super) speed: DiskSpeed,
    pub(super) clock: WallClock,
    time: WorldTime,
    met: Met,
    seeds: SeededEntropy,
    life: u64,
    process: Option<Process>,
    wanted: Wanted,
    pace: Pace,
    /// Since when it is paused, when it led a shard then.
    led_when_paused: Option<Duration>,
    /// Time that passed since the process ran last.
    lag: Duration,
    start_at: Option<Duration>,
    failing_since: Option<Duration>,
    /// The id that its last process had.
    known_as: Option<NodeId>,
    /// How often its disk was replaced.
    pub(super) wipes: u32,
    /// Its disk was damaged, and nobody has replaced it yet.
    suspect: bool,
    /// A crash left a part of the last write on it, which nobody has read yet.
    torn: bool,
    /// The groups that rested when they were last looked at.
    rests: Rests,
}

impl Machine {
    pub(super) fn new(
        host: Host,
        clock: WallClock,
        time: &WorldTime,
        met: &Met,
        seed: u64,
    ) -> Self {
        let mut seeds = SeededEntropy::new(seed);
        let name = format!("n{}", host.0);
        Self {
            host,
            disk: SimulatedDisk::new(format!("/simulated/{name}"), seeds.next_u64()),
            name,
            speed: DiskSpeed::usual(),
            clock,
            time: time.clone(),
            met: met.clone(),
            seeds,
            life: 0,
            process: None,
            wanted: Wanted::Down,
            pace: Pace::Usual,
            led_when_paused: None,
            lag: Duration::ZERO,
            start_at: None,
            failing_since: None,
            known_as: None,
            wipes: 0,
            suspect: false,
            torn: false,
            rests: Rests::default(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pace == Pace::Paused
    }

    /// Whether it is or shall be a member.
    pub(super) fn belongs(&self) -> bool {
        self.wanted != Wanted::Gone
    }

    pub(super) fn node(&self) -> Option<ClusterNode> {
        self.process.as_ref()?.node()
    }

    /// The shards that its node leads, as far as the node knows.
    pub(super) fn leads(&self) -> Vec<ShardId> {
        let Some(node) = self.node() else { return Vec::new() };
        let view = node.view();
        let led = view.shards.iter().filter(|shard| shard.leader == Some(node.node()));
        led.map(|shard| shard.id).collect()
    }

    /// Whether it runs again after it was down.
    pub(super) fn is_back(&self) -> bool {
        self.life > 1 && self.node().is_some()
    }

    pub(super) fn known_as(&self) -> Option<NodeId> {
        self.known_as
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Starts a process now.
    pub(super) fn start(&mut self, common: &Common, wires: &Wires, trace: &Trace) {
        if self.wanted == Wanted::Gone {
            return;
        }
        self.wanted = Wanted::Running;
        if self.process.is_some() {
            // One that is ending is started again when it has ended.
            return;
        }
        self.start_at = None;
        self.failing_since = None;
        self.pace = Pace::Usual;
        self.lag = Duration::ZERO;
        self.life += 1;
        let given = Given {
            common: common.clone(),
            host: self.host,
            name: self.name.clone(),
            disk: self.disk.clone(),
            speed: self.speed.clone(),
            clock: self.clock.clone(),
            network: wires.attach(self.host, self.life),
            seed: self.seeds.next_u64(),
        };
        trace.note(format_args!("# {} starts (life {})", self.name, self.life));
        match Process::start(given) {
            Ok(process) => self.process = Some(process),
            Err(error) => trace.note(format_args!("# {} does not start: {error}", self.name)),
        }
    }

    /// Ends the process where it stands.
    pub(super) fn crash(&mut self, crash: Crash, wires: &Wires, trace: &Trace) {
        trace.note(format_args!("# {} ends: {crash:?}", self.name));
        if self.wanted == Wanted::Running {
            self.wanted = Wanted::Down;
        }
        self.note_death();
        let groups = self.process.as_ref().map_or(0, Process::groups_on_their_way);
        self.met.met_times(Situation::CrashBetweenGroups, u64::from(groups > 1));
        // The disk first: what is dropped with the process must not reach it any more.
        let aftermath = self.disk.crash(crash);
        self.met.met_times(Situation::CrashBeforeSync, aftermath.unsynced.into());
        self.torn |= aftermath.torn;
        self.met.met_times(Situation::PagesDropped, aftermath.dropped.into());
        self.process = None;
        self.rests = Rests::default();
        self.led_when_paused = None;
        match crash {
            Crash::Killed => wires.end_process(self.host),
            Crash::PowerLost => wires.power_off(self.host),
        }
        self.pace = Pace::Usual;
    }

    /// What a crash of the process means at this moment.
    fn note_death(&self) {
        let Some(process) = &self.process else { return };
        let Some(node) = process.node() else {
            let recovers = self.known_as.is_some();
            return self.met.met_times(Situation::CrashDuringRecovery, recovers.into());
        };
        let at_rest = node.resting_shards();
        for shard in self.leads() {
            self.met.met_times(Situation::LeaderLostAtRest, at_rest.contains(&shard).into());
            // A log that cannot be read has nothing to tell.
            if let Ok(last) = node.log().last_offset(shard) {
                self.met.leader_died(Death { at: self.time.elapsed(), shard, last });
            }
        }
    }

    pub(super) fn damage(&mut self, damage: Damage, trace: &Trace) {
        if !self.disk.damage(damage) {
            return;
        }
        trace.note(format_args!("# the disk of {}: {damage:?}", self.name));
        self.wipes += u32::from(damage == Damage::Wiped);
        self.torn &= !matches!(damage, Damage::Wiped | Damage::Emptied);
        match damage {
            Damage::Wiped => self.suspect = false,
            Damage::Emptied => self.suspect = true,
            Damage::FlippedBit(spot) => {
                // What can be built anew harms nobody, and nobody replaces a disk because of it.
                self.suspect |= matches!(spot, Spot::Log | Spot::SideFile);
                self.met.met(match spot {
                    Spot::Log => Situation::FlippedLog,
                    Spot::Index => Situation::FlippedIndex,
                    Spot::Snapshot => Situation::FlippedSnapshot,
                    Spot::SideFile => Situation::FlippedSideFile,
                    Spot::TailFile => Situation::FlippedTailFile,
                });
            }
        }
    }

    /// Tells the process to end in order.
    pub(super) fn order(&mut self, order: Order, trace: &Trace) {
        if self.wanted == Wanted::Gone {
            // It is leaving already.
            return;
        }
        trace.note(format_args!("# {} is told: {order:?}", self.name));
        self.wanted = if order == Order::Leave { Wanted::Gone } else { Wanted::Down };
        match &self.process {
            Some(process) => process.order(order),
            // It was not running: it cannot say goodbye.
            None if order == Order::Leave => self.wanted = Wanted::Down,
            None => {}
        }
    }

    pub(super) fn pause(&mut self, trace: &Trace) {
        trace.note(format_args!("# {} is paused", self.name));
        self.pace = Pace::Paused;
        self.led_when_paused = (!self.leads().is_empty()).then(|| self.time.elapsed());
    }

    pub(super) fn slow_down(&mut self, ticks: u64, trace: &Trace) {
        trace.note(format_args!("# {} runs once in {ticks} ms", self.name));
        self.pace = Pace::Slow(ticks.max(1));
    }

    /// It runs as ever.
    pub(super) fn resume(&mut self, trace: &Trace) {
        if self.pace != Pace::Usual {
            trace.note(format_args!("# {} runs as ever", self.name));
            self.pace = Pace::Usual;
        }
        let lease = ConsensusTimes::default().election_max;
        let slept = self.led_when_paused.take().map(|since| self.time.elapsed() - since);
        if slept.is_some_and(|slept| slept > lease) {
            self.met.met(Situation::PausedBeyondLease);
        }
    }

    /// Lets one tick pass.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        tick: Duration,
        common: &Common,
        wires: &Wires,
        trace: &Trace,
    ) {
        if self.start_at.is_some_and(|at| at <= now) {
            self.start(common, wires, trace);
        }
        let number = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let runs = match self.pace {
            Pace::Usual => true,
            Pace::Slow(ticks) => number % ticks == 0,
            Pace::Paused => false,
        };
        let Some(process) = &self.process else { return };
        if !runs {
            self.lag += tick;
            return;
        }
        trace.enter(Some(&self.name));
        process.step(std::mem::take(&mut self.lag), tick);
        trace.enter(None);
        let read = process.has_opened() && std::mem::take(&mut self.torn);
        self.met.met_times(Situation::TornTail, read.into());
        if let Some(node) = process.node() {
            self.known_as = Some(node.node());
            self.rests.look(&node, now, &self.met);
        }
        if let Some(ended) = process.ended() {
            self.note_end(ended, now, wires, trace);
        } else {
            self.look_at_disk(now, wires, trace);
        }
    }
}
