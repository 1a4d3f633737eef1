//! The fault schedule: what goes wrong next, and when it is mended. Each fault has a weight of its own in each world.
//!
//! It keeps to the model of the promises: never more than a minority is down at once unless all lose power together, and at most one disk of a world
//! is lost, since a second may only be lost once the first is replaced on every shard.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{Entropy as _, SeededEntropy};
use holm_persistence::{Crash, Damage};

use super::network::{Host, Quality};
use super::settings::FaultWeights;
use super::{Settings, World};

/// By then the cluster log has as many voters as it will have.
const FOUNDED: Duration = Duration::from_secs(5);

/// Most machines that a world grows to.
const MOST_MACHINES: usize = 7;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Power,
    PowerOfAll,
    LostDisk,
    Isolate,
    OneWay,
    Partial,
    Flapping,
    Reset,
    PoorNetwork,
    Slow,
    Pause,
    Clock,
    FullDisk,
    SlowDisk,
    FailedSync,
    Join,
    Leave,
    RollingRestart,
}

/// What is done later, to mend a fault or to go on with it.
#[derive(Debug, Clone, Copy)]
enum Later {
    Start(usize),
    Damage(usize, Damage),
    Join(Host, Host),
    Cut(Host, Host),
    Quality(Host, Host),
    Resume(usize),
    Clock(usize),
    Room(usize),
    Speed(usize),
    ShutDown(usize),
}

/// Makes things go wrong.
pub(super) struct Schedule {
    entropy: SeededEntropy,
    weights: Vec<(Fault, u64)>,
    between: (Duration, Duration),
    next_at: Duration,
    later: BTreeMap<(Duration, u64), Later>,
    number: u64,
    disk_lost: bool,
    /// How often each fault happened.
    counts: BTreeMap<&'static str, u64>,
}

impl Schedule {
    pub(super) fn new(settings: &Settings, seed: u64, begin: Duration) -> Self {
        Self {
            entropy: SeededEntropy::new(seed),
            weights: weights(&settings.faults),
            between: settings.between_faults,
            next_at: begin,
            later: BTreeMap::new(),
            number: 0,
            disk_lost: false,
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Does what is due.
    pub(super) fn act(&mut self, world: &mut World) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > world.now() {
                break;
            }
            let later = entry.remove();
            carry_out(later, world);
        }
        if world.now() >= self.next_at {
            let (least, most) = self.between;
            self.next_at = world.now() + self.draw(least, most);
            let total = self.weights.iter().map(|(_, weight)| weight).sum::<u64>();
            if total > 0 {
                let mut drawn = self.entropy.below(total);
                let fault = self.weights.iter().find(|(_, weight)| {
                    let hit = drawn < *weight;
                    drawn = drawn.saturating_sub(*weight);
                    hit
                });
                if let Some((fault, _)) = fault.copied() {
                    self.strike(fault, world);
                }
            }
        }
    }

    /// Mends everything.
    pub(super) fn heal(&mut self, world: &mut World) {
        self.later.clear();
        world.trace.note("# everything is mended");
        world.wires.heal();
        for machine in &mut world.machines {
            machine.mend(world.now, &world.wires, &world.trace);
        }
    }

    fn draw(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = u64::try_from((most.saturating_sub(least)).as_millis()).unwrap_or(0).max(1);
        least + Duration::from_millis(self.entropy.below(spread))
    }

    fn draw_ms(&mut self, least: u64, most: u64) -> Duration {
        self.draw(Duration::from_millis(least), Duration::from_millis(most))
    }

    fn after(&mut self, world: &World, time: Duration, later: Later) {
        self.number += 1;
        self.later.insert((world.now() + time, self.number), later);
    }

    fn strike(&mut self, fault: Fault, world: &mut World) {
        let struck = match fault {
            Fault::Kill => self.crash(world, Crash::Killed),
            Fault::Power => self.crash(world, Crash::PowerLost),
            Fault::PowerOfAll => self.power_of_all(world),
            Fault::LostDisk => self.lost_disk(world),
            Fault::Isolate | Fault::OneWay | Fault::Partial | Fault::Flapping => {
                self.partition(fault, world)
            }
            Fault::Reset => self.reset(world),
            Fault::PoorNetwork => self.poor_network(world),
            Fault::Slow | Fault::Pause => self.stall(fault, world),
            Fault::Clock => self.clock(world),
            Fault::FullDisk | Fault::SlowDisk | Fault::FailedSync => self.disk(fault, world),
            Fault::Join => join(world),
            Fault::Leave => self.leave(world),
            Fault::RollingRestart => self.rolling_restart(world),
        };
        if struck {
            *self.counts.entry(name(fault)).or_default() += 1;
        }
    }

    fn pick(&mut self, of: &[usize]) -> Option<usize> {
        let nth = self.entropy.below(of.len().max(1) as u64);
        of.get(usize::try_from(nth).ok()?).copied()
    }

    /// A machine that may go down: with it there is still a majority of those that belong.
    fn pick_to_fail(&mut self, world: &World) -> Option<usize> {
        let belonging = indices(world, |machine| machine.belongs());
        let up = indices(world, |machine| {
            machine.belongs() && machine.is_running() && !machine.is_paused()
        });
        let may_fail = belonging.len().saturating_sub(1) / 2;
        if belonging.len() - up.len() >= may_fail {
            return None;
        }
        self.pick(&up)
    }

    fn pick_running(&mut self, world: &World) -> Option<usize> {
        let running = indices(world, |machine| machine.is_running());
        self.pick(&running)
    }

    fn crash(&mut self, world: &mut World, crash: Crash) -> bool {
        let Some(machine) = self.pick_to_fail(world) else { return false };
        world.crash(machine, crash);
        let time = if self.entropy.below(2) == 0 {
            self.draw_ms(50, 1_000)
        } else {
            self.draw_ms(1_000, 15_000)
        };
        self.after(world, time, Later::Start(machine));
        true
    }

    fn power_of_all(&mut self, world: &mut World) -> bool {
        for machine in indices(world, |machine| machine.belongs()) {
            world.crash(machine, Crash::PowerLost);
            let time = self.draw_ms(100, 3_000);
            self.after(world, time, Later::Start(machine));
        }
        true
    }

    fn lost_disk(&mut self, world: &mut World) -> bool {
        let all_up = world
            .machines
            .iter()
            .all(|machine| machine.wipes == 0 && (!machine.belongs() || machine.node().is_some()));
        // A cluster log that was just founded has one voter; its disk is the majority.
        if self.disk_lost || !all_up || world.now() < FOUNDED {
            return false;
        }
        let Some(machine) = self.pick_to_fail(world) else { return false };
        self.disk_lost = true;
        world.crash(machine, Crash::PowerLost);
        let damage = match self.entropy.below(3) {
            0 => Damage::Wiped,
            1 => Damage::Emptied,
            _ => Damage::FlippedBit,
        };
        self.after(world, Duration::from_millis(1), Later::Damage(machine, damage));
        let time = self.draw_ms(100, 5_000);
        self.after(world, time, Later::Start(machine));
        true
    }

    fn partition(&mut self, fault: Fault, world: &mut World) -> bool {
        let Some(machine) = self.pick_running(world) else { return false };
        let here = world.machines[machine].host;
        let others: Vec<Host> = world
            .machines
            .iter()
            .map(|machine| machine.host)
            .filter(|host| *host != here)
            .collect();
        let time = self.draw_ms(100, 12_000);
        let pairs: Vec<(Host, Host)> = match fault {
            Fault::OneWay if self.entropy.below(2) == 0 => {
                others.iter().map(|other| (here, *other)).collect()
            }
            Fault::OneWay => others.iter().map(|other| (*other, here)).collect(),
            Fault::Partial => {
                let nth = self.entropy.below(others.len().max(1) as u64);
                let other = others.get(usize::try_from(nth).unwrap_or(0)).copied();
                other.map_or_else(Vec::new, |other| vec![(here, other), (other, here)])
            }
            _ => others.iter().flat_map(|other| [(here, *other), (*other, here)]).collect(),
        };
        world.trace.note(format_args!("# {fault:?} around n{} for {time:?}", here.0));
        for (from, to) in pairs {
            world.wires.cut(from, to);
            if fault == Fault::Flapping {
                self.flap(world, from, to);
            } else {
                self.after(world, time, Later::Join(from, to));
            }
        }
        true
    }

    /// Cut and joined in turn, at about the time of an election.
    fn flap(&mut self, world: &World, from: Host, to: Host) {
        let mut at = Duration::ZERO;
        for _ in 0..6 {
            at += self.draw_ms(250, 700);
            self.after(world, at, Later::Join(from, to));
            at += self.draw_ms(100, 500);
            self.after(world, at, Later::Cut(from, to));
        }
        self.after(world, at + Duration::from_millis(300), Later::Join(from, to));
    }

    fn reset(&mut self, world: &mut World) -> bool {
        let (Some(one), Some(other)) = (self.pick_running(world), self.pick_running(world)) else {
            return false;
        };
        let (one, other) = (world.machines[one].host, world.machines[other].host);
        let mut broken = false;
        for _ in 0..=self.entropy.below(3) {
            broken |= world.wires.reset_one(one, other);
        }
        if broken {
            world.trace.note(format_args!("# connections of n{} and n{} break", one.0, other.0));
        }
        broken
    }

    fn poor_network(&mut self, world: &mut World) -> bool {
        let hosts: Vec<Host> = world.machines.iter().map(|machine| machine.host).collect();
        let most = self.draw_ms(5, 400);
        let quality = Quality {
            least: Duration::from_micros(200),
            most,
            lost_in_thousand: self.entropy.below(200),
        };
        let time = self.draw_ms(500, 10_000);
        world.trace.note(format_args!("# the network is poor for {time:?}: {quality:?}"));
        for from in &hosts {
            for to in hosts.iter().filter(|to| *to != from) {
                if self.entropy.below(2) == 0 {
                    world.wires.set_quality(*from, *to, Some(quality));
                    self.after(world, time, Later::Quality(*from, *to));
                }
            }
        }
        true
    }

    fn stall(&mut self, fault: Fault, world: &mut World) -> bool {
        let Some(machine) = self.pick_to_fail(world) else { return false };
        if fault == Fault::Pause {
            world.machines[machine].pause(&world.trace);
        } else {
            let ticks = 5 + self.entropy.below(300);
            world.machines[machine].slow_down(ticks, &world.trace);
        }
        let time = self.draw_ms(200, 12_000);
        self.after(world, time, Later::Resume(machine));
        true
    }

    fn clock(&mut self, world: &mut World) -> bool {
        let Some(machine) = self.pick_running(world) else { return false };
        let ahead = match self.entropy.below(4) {
            0 => 3_600_000,
            1 => -3_600_000,
            2 => 500,
            _ => -500,
        };
        world.trace.note(format_args!("# the clock of n{} jumps by {ahead} ms", machine + 1));
        world.machines[machine].clock.set_ahead(ahead);
        let time = self.draw_ms(500, 15_000);
        self.after(world, time, Later::Clock(machine));
        true
    }

    fn disk(&mut self, fault: Fault, world: &mut World) -> bool {
        let machine = if fault == Fault::SlowDisk {
            self.pick_running(world)
        } else {
            self.pick_to_fail(world)
        };
        let Some(machine) = machine else { return false };
        world.trace.note(format_args!("# the disk of n{}: {fault:?}", machine + 1));
        let time = self.draw_ms(500, 10_000);
        match fault {
            Fault::FullDisk => {
                world.machines[machine].disk.set_full(true);
                self.after(world, time, Later::Room(machine));
            }
            Fault::SlowDisk => {
                let most = self.draw_ms(30, 2_000);
                let range = (Duration::from_millis(5), most);
                world.machines[machine].speed.set(Some(range));
                self.after(world, time, Later::Speed(machine));
            }
            _ => world.machines[machine].disk.fail_syncs(1),
        }
        true
    }

    fn leave(&mut self, world: &mut World) -> bool {
        let belonging = indices(world, |machine| machine.belongs());
        let members = indices(world, |machine| machine.belongs() && machine.node().is_some());
        if belonging.len() <= 3 || members.len() < belonging.len() {
            return false;
        }
        let Some(machine) = self.pick(&members) else { return false };
        world.leave(machine);
        true
    }

    fn rolling_restart(&mut self, world: &mut World) -> bool {
        let members = indices(world, |machine| machine.belongs() && machine.node().is_some());
        let mut at = Duration::ZERO;
        for machine in members {
            self.after(world, at, Later::ShutDown(machine));
            at += self.draw_ms(1_500, 4_000);
            self.after(world, at, Later::Start(machine));
            at += self.draw_ms(500, 2_000);
        }
        true
    }
}

fn join(world: &mut World) -> bool {
    if world.machines() >= MOST_MACHINES {
        return false;
    }
    world.trace.note("# a node joins");
    world.join();
    true
}

fn carry_out(later: Later, world: &mut World) {
    match later {
        Later::Start(machine) => world.start(machine),
        Later::Damage(machine, damage) => world.damage(machine, damage),
        Later::Join(from, to) => world.wires.join(from, to),
        Later::Cut(from, to) => world.wires.cut(from, to),
        Later::Quality(from, to) => world.wires.set_quality(from, to, None),
        Later::Resume(machine) => world.machines[machine].resume(&world.trace),
        Later::Clock(machine) => world.machines[machine].clock.set_ahead(0),
        Later::Room(machine) => world.machines[machine].disk.set_full(false),
        Later::Speed(machine) => world.machines[machine].speed.set(None),
        Later::ShutDown(machine) => world.shut_down(machine),
    }
}

fn indices(world: &World, is: impl Fn(&super::machine::Machine) -> bool) -> Vec<usize> {
    (0..world.machines.len()).filter(|number| is(&world.machines[*number])).collect()
}

fn weights(weights: &FaultWeights) -> Vec<(Fault, u64)> {
    let weights = vec![
        (Fault::Kill, weights.kill),
        (Fault::Power, weights.power),
        (Fault::PowerOfAll, weights.power_of_all),
        (Fault::LostDisk, weights.lost_disk),
        (Fault::Isolate, weights.isolate),
        (Fault::OneWay, weights.one_way),
        (Fault::Partial, weights.partial),
        (Fault::Flapping, weights.flapping),
        (Fault::Reset, weights.reset),
        (Fault::PoorNetwork, weights.poor_network),
        (Fault::Slow, weights.slow),
        (Fault::Pause, weights.pause),
        (Fault::Clock, weights.clock),
        (Fault::FullDisk, weights.full_disk),
        (Fault::SlowDisk, weights.slow_disk),
        (Fault::FailedSync, weights.failed_sync),
        (Fault::Join, weights.join),
        (Fault::Leave, weights.leave),
        (Fault::RollingRestart, weights.rolling_restart),
    ];
    weights
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "process killed",
        Fault::Power => "power lost",
        Fault::PowerOfAll => "power lost everywhere",
        Fault::LostDisk => "disk lost",
        Fault::Isolate => "node isolated",
        Fault::OneWay => "one-way partition",
        Fault::Partial => "partial partition",
        Fault::Flapping => "flapping network",
        Fault::Reset => "connections reset",
        Fault::PoorNetwork => "poor network",
        Fault::Slow => "slow node",
        Fault::Pause => "paused node",
        Fault::Clock => "clock jump",
        Fault::FullDisk => "disk full",
        Fault::SlowDisk => "slow disk",
        Fault::FailedSync => "failed sync",
        Fault::Join => "node joined",
        Fault::Leave => "node left",
        Fault::RollingRestart => "rolling restart",
    }
}
