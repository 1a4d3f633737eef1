//! Changes of who belongs to the cluster, and the rolling restart that every operator does.

use std::time::Duration;

use super::later::Later;
use super::{Schedule, indices};
use crate::world::World;

/// Most machines that a world grows to.
const MOST_MACHINES: usize = 7;

pub(super) fn join(world: &mut World) -> bool {
    if world.machines() >= MOST_MACHINES {
        return false;
    }
    world.trace.note("# a node joins");
    world.join();
    true
}

impl Schedule {
    pub(super) fn leave(&mut self, world: &mut World) -> bool {
        let belonging = indices(world, |machine| machine.belongs());
        let members = indices(world, |machine| machine.belongs() && machine.node().is_some());
        if belonging.len() <= 3 || members.len() < belonging.len() {
            return false;
        }
        let Some(machine) = self.pick(&members) else { return false };
        world.leave(machine);
        true
    }

    pub(super) fn rolling_restart(&mut self, world: &mut World) -> bool {
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
