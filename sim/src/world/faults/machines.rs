//! Faults of one machine or of all: processes that end or stand still, clocks that jump, disks that fail.

use std::time::Duration;

use holm_core::Entropy as _;
use holm_persistence::{Crash, Damage, Spot};

use super::kind::Fault;
use super::later::Later;
use super::{Schedule, indices};
use crate::world::World;
use crate::world::machine::Machine;

/// A cluster log with so many voters bears the loss of one disk.
const VOTERS: usize = 3;

impl Schedule {
    pub(super) fn crash(&mut self, world: &mut World, crash: Crash) -> bool {
        let Some(machine) = self.pick_to_fail(world) else { return false };
        world.crash(machine, crash);
        let time = if self.entropy.below(2) == 0 {
            self.draw_ms(50, 1_000)
        } else {
            self.draw_ms(1_000, 15_000)
        };
        self.after(world, time, Later::Start(machine));
        // Sometimes it comes down again while it is coming up.
        if self.again.below(4) == 0 {
            let again = time + Duration::from_millis(1 + self.again.below(60));
            self.after(world, again, Later::Crash(machine, crash));
            let time = again + Duration::from_millis(50 + self.again.below(2_000));
            self.after(world, time, Later::Start(machine));
        }
        true
    }

    pub(super) fn power_of_all(&mut self, world: &mut World) -> bool {
        for machine in indices(world, |machine| machine.belongs()) {
            world.crash(machine, Crash::PowerLost);
            let time = self.draw_ms(100, 3_000);
            self.after(world, time, Later::Start(machine));
        }
        true
    }

    pub(super) fn lost_disk(&mut self, world: &mut World) -> bool {
        // A cluster log that was just founded has one voter; its disk is the majority.
        let bears_it = |machine: &Machine| {
            machine.node().is_some_and(|node| node.cluster_voters().len() >= VOTERS)
        };
        let all_up = world
            .machines
            .iter()
            .all(|machine| machine.wipes == 0 && (!machine.belongs() || bears_it(machine)));
        if self.disk_lost || !all_up {
            return false;
        }
        let Some(machine) = self.pick_to_fail(world) else { return false };
        self.disk_lost = true;
        world.crash(machine, Crash::PowerLost);
        let damage = match self.entropy.below(3) {
            0 => Damage::Wiped,
            1 => Damage::Emptied,
            _ if self.damaged_side_files && self.again.below(2) == 0 => {
                Damage::FlippedBit(Spot::SideFile)
            }
            _ => Damage::FlippedBit(Spot::Log),
        };
        self.after(world, Duration::from_millis(1), Later::Damage(machine, damage));
        let time = self.draw_ms(100, 5_000);
        self.after(world, time, Later::Start(machine));
        true
    }

    /// The disk keeps what it must and spoils what can be built anew. Half of the processes end in order first: then their indexes are on the disk.
    pub(super) fn rot(&mut self, world: &mut World) -> bool {
        let Some(machine) = self.pick_to_fail(world) else { return false };
        let spot = [Spot::Index, Spot::Snapshot, Spot::TailFile]
            [usize::try_from(self.entropy.below(3)).unwrap_or_default()];
        let down_after = if self.entropy.below(2) == 0 {
            world.crash(machine, Crash::Killed);
            Duration::from_millis(1)
        } else {
            world.shut_down(machine);
            Duration::from_secs(2)
        };
        self.after(world, down_after, Later::Damage(machine, Damage::FlippedBit(spot)));
        let time = down_after + self.draw_ms(50, 2_000);
        self.after(world, time, Later::Start(machine));
        true
    }

    /// A sync fails, the process is ended because of it and comes back, and later the machine loses power: what it believed to be on the disk must be.
    pub(super) fn dropped_pages(&mut self, world: &mut World) -> bool {
        let Some(machine) = self.pick_to_fail(world) else { return false };
        world
            .trace
            .note(format_args!("# the disk of n{}: a sync fails, then the power", machine + 1));
        world.machines[machine].disk.fail_syncs(1);
        let time = self.draw_ms(1_800, 6_000);
        self.after(world, time, Later::Crash(machine, Crash::PowerLost));
        let time = time + self.draw_ms(50, 2_000);
        self.after(world, time, Later::Start(machine));
        true
    }

    pub(super) fn stall(&mut self, fault: Fault, world: &mut World) -> bool {
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

    pub(super) fn clock(&mut self, world: &mut World) -> bool {
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

    pub(super) fn disk(&mut self, fault: Fault, world: &mut World) -> bool {
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
}
