//! What is done later: a fault is mended, or goes on.

use holm_persistence::{Crash, Damage};

use super::one_may_fail;
use crate::world::World;
use crate::world::network::Host;

/// What is done later, to mend a fault or to go on with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Later {
    Start(usize),
    Crash(usize, Crash),
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

impl Later {
    /// Does it.
    pub(super) fn carry_out(self, world: &mut World) {
        match self {
            Self::Start(machine) => world.start(machine),
            Self::Crash(machine, crash) => {
                // It may have ended meanwhile, or another one.
                if world.is_running(machine) && one_may_fail(world) {
                    world.crash(machine, crash);
                }
            }
            Self::Damage(machine, damage) => {
                // It may have been started meanwhile.
                if !world.is_running(machine) {
                    world.damage(machine, damage);
                }
            }
            Self::Join(from, to) => world.wires.join(from, to),
            Self::Cut(from, to) => world.wires.cut(from, to),
            Self::Quality(from, to) => world.wires.set_quality(from, to, None),
            Self::Resume(machine) => world.machines[machine].resume(&world.trace),
            Self::Clock(machine) => world.machines[machine].clock.set_ahead(0),
            Self::Room(machine) => world.machines[machine].disk.set_full(false),
            Self::Speed(machine) => world.machines[machine].speed.set(None),
            Self::ShutDown(machine) => world.shut_down(machine),
        }
    }
}
