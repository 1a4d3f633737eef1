//! A machine of the world: a disk, a wall clock, and a process when one runs on it. It also is what a service manager is: it starts a process again.

use std::time::Duration;

use holm_core::{Entropy as _, NodeId, SeededEntropy};
use holm_persistence::{Crash, Damage, SimulatedDisk};
use holm_sharding::ClusterNode;

use super::network::{Host, Wires};
use super::process::{Common, DiskSpeed, Ended, Given, Order, Process};
use super::time::{WallClock, WorldTime};
use super::trace::Trace;

/// Pause before a process that ended by itself is started again.
const START_AGAIN: Duration = Duration::from_millis(500);

/// How long a process whose disk failed goes on before it is started again, as by somebody who watches.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

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
    seeds: SeededEntropy,
    life: u64,
    process: Option<Process>,
    wanted: Wanted,
    pace: Pace,
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
}

impl Machine {
    pub(super) fn new(host: Host, time: &WorldTime, seed: u64) -> Self {
        let mut seeds = SeededEntropy::new(seed);
        let name = format!("n{}", host.0);
        Self {
            host,
            disk: SimulatedDisk::new(format!("/simulated/{name}"), seeds.next_u64()),
            name,
            speed: DiskSpeed::usual(),
            clock: WallClock::new(time),
            seeds,
            life: 0,
            process: None,
            wanted: Wanted::Down,
            pace: Pace::Usual,
            lag: Duration::ZERO,
            start_at: None,
            failing_since: None,
            known_as: None,
            wipes: 0,
            suspect: false,
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
        // The disk first: what is dropped with the process must not reach it any more.
        self.disk.crash(crash);
        self.process = None;
        match crash {
            Crash::Killed => wires.end_process(self.host),
            Crash::PowerLost => wires.power_off(self.host),
        }
        self.pace = Pace::Usual;
    }

    pub(super) fn damage(&mut self, damage: Damage, trace: &Trace) {
        if self.disk.damage(damage) {
            trace.note(format_args!("# the disk of {}: {damage:?}", self.name));
            self.wipes += u32::from(damage == Damage::Wiped);
            self.suspect = damage != Damage::Wiped;
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
        if let Some(node) = process.node() {
            self.known_as = Some(node.node());
        }
        if let Some(ended) = process.ended() {
            self.note_end(ended, now, wires, trace);
        } else {
            self.look_at_disk(now, wires, trace);
        }
    }

    /// The process ended by itself.
    fn note_end(&mut self, ended: Ended, now: Duration, wires: &Wires, trace: &Trace) {
        trace.note(format_args!("# {} ended: {ended:?}", self.name));
        self.process = None;
        self.disk.crash(Crash::Killed);
        wires.end_process(self.host);
        match ended {
            Ended::Stopped if self.wanted == Wanted::Running => {
                self.start_at = Some(now + START_AGAIN);
            }
            Ended::Stopped => {}
            Ended::Left => self.wanted = Wanted::Gone,
            Ended::StillHere(_) | Ended::NotStarted(_) => {
                if self.suspect {
                    self.damage(Damage::Wiped, trace);
                }
                self.wanted = Wanted::Running;
                self.start_at = Some(now + START_AGAIN);
            }
            Ended::Unusable(error) => {
                if !error.is_disk_full() {
                    // As an operator does: a disk that cannot be trusted is replaced, and the node comes back under another id.
                    self.damage(Damage::Wiped, trace);
                }
                self.start_at = Some(now + START_AGAIN);
            }
        }
    }

    fn look_at_disk(&mut self, now: Duration, wires: &Wires, trace: &Trace) {
        if !now.subsec_millis().is_multiple_of(100) {
            return;
        }
        let failure = self.process.as_ref().and_then(Process::disk_failure);
        let Some(error) = failure else {
            self.failing_since = None;
            return;
        };
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= DISK_PATIENCE {
            trace.note(format_args!("# {} is started again: {error}", self.name));
            self.crash(Crash::Killed, wires, trace);
            self.wanted = Wanted::Running;
            self.start_at = Some(now + START_AGAIN);
        }
    }

    /// Whoever looks after it mends it: a damaged disk is replaced, and a process runs.
    pub(super) fn mend(&mut self, now: Duration, wires: &Wires, trace: &Trace) {
        self.resume(trace);
        self.disk.set_full(false);
        self.disk.fail_syncs(0);
        self.speed.set(None);
        self.clock.set_ahead(0);
        if self.wanted == Wanted::Gone {
            return;
        }
        if self.suspect {
            self.crash(Crash::Killed, wires, trace);
            self.damage(Damage::Wiped, trace);
        }
        self.wanted = Wanted::Running;
        if self.process.is_none() {
            self.start_at = Some(now);
        }
    }
}
