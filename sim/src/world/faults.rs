//! The fault schedule: what goes wrong next, and when it is mended. Each fault has a weight of its own in each world.
//!
//! It keeps to the model of the promises: never more than a minority is down at once unless all lose power together, and at most one disk of a world
//! is lost, since a second may only be lost once the first is replaced on every shard.

mod kind;
mod later;
mod links;
mod machines;
mod members;

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{Entropy as _, SeededEntropy};
use holm_persistence::Crash;

use self::kind::Fault;
use self::later::Later;
use self::members::join;
use super::machine::Machine;
use super::{Settings, World};

/// Makes things go wrong.
pub(super) struct Schedule {
    entropy: SeededEntropy,
    /// For what came later into the schedule: a stream of its own, so that the seeds of mended bugs still draw the faults that showed them.
    again: SeededEntropy,
    weights: [(Fault, u64); Fault::ALL.len()],
    between: (Duration, Duration),
    next_at: Duration,
    later: BTreeMap<(Duration, u64), Later>,
    number: u64,
    disk_lost: bool,
    damaged_side_files: bool,
    /// How often each fault happened.
    counts: BTreeMap<&'static str, u64>,
}

impl Schedule {
    pub(super) fn new(settings: &Settings, seed: u64, begin: Duration) -> Self {
        Self {
            entropy: SeededEntropy::new(seed),
            again: SeededEntropy::new(seed ^ 0x0A6A_1400),
            weights: Fault::ALL.map(|fault| (fault, fault.weight(&settings.faults))),
            between: settings.between_faults,
            next_at: begin,
            later: BTreeMap::new(),
            number: 0,
            disk_lost: false,
            damaged_side_files: settings.damaged_side_files,
            counts: Fault::ALL.map(|fault| (fault.name(), 0)).into(),
        }
    }

    /// How often each fault happened.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// Does what is due.
    pub(super) fn act(&mut self, world: &mut World) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > world.now() {
                break;
            }
            let later = entry.remove();
            later.carry_out(world);
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
            Fault::Rot => self.rot(world),
            Fault::DroppedPages => self.dropped_pages(world),
            Fault::Twice => self.twice(world),
        };
        if struck {
            *self.counts.entry(fault.name()).or_default() += 1;
        }
    }

    fn pick(&mut self, of: &[usize]) -> Option<usize> {
        let nth = self.entropy.below(of.len().max(1) as u64);
        of.get(usize::try_from(nth).ok()?).copied()
    }

    /// A machine that may go down: with it there is still a majority of those that belong.
    fn pick_to_fail(&mut self, world: &World) -> Option<usize> {
        let up = indices(world, is_up);
        if one_may_fail(world) { self.pick(&up) } else { None }
    }

    fn pick_running(&mut self, world: &World) -> Option<usize> {
        let running = indices(world, |machine| machine.is_running());
        self.pick(&running)
    }
}

fn is_up(machine: &Machine) -> bool {
    machine.belongs() && machine.is_running() && !machine.is_paused()
}

/// Whether a majority of those that belong is up also when one more is not.
fn one_may_fail(world: &World) -> bool {
    let belonging = indices(world, Machine::belongs).len();
    let up = indices(world, is_up).len();
    belonging - up < belonging.saturating_sub(1) / 2
}

fn indices(world: &World, is: impl Fn(&Machine) -> bool) -> Vec<usize> {
    (0..world.machines.len()).filter(|number| is(&world.machines[*number])).collect()
}
