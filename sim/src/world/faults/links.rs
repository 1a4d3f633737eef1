//! Faults of the network: cuts of every shape, broken connections, slow and lossy ways, and ways on which messages arrive twice.

use std::time::Duration;

use holm_core::Entropy as _;

use super::Schedule;
use super::kind::Fault;
use super::later::Later;
use crate::sometimes::Situation;
use crate::world::World;
use crate::world::network::{Host, Quality};

impl Schedule {
    pub(super) fn partition(&mut self, fault: Fault, world: &mut World) -> bool {
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
        let cut_off = matches!(fault, Fault::Isolate | Fault::Flapping);
        let led = !world.machines[machine].leads().is_empty();
        world.met.met_times(Situation::LeaderCutOff, (cut_off && led).into());
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

    pub(super) fn reset(&mut self, world: &mut World) -> bool {
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

    pub(super) fn poor_network(&mut self, world: &mut World) -> bool {
        let most = self.draw_ms(5, 400);
        let quality = Quality {
            least: Duration::from_micros(200),
            most,
            lost_in_thousand: self.entropy.below(200),
            ..Quality::default()
        };
        self.change_quality(world, quality)
    }

    /// Whole messages are put on their way twice.
    pub(super) fn twice(&mut self, world: &mut World) -> bool {
        let most = self.draw_ms(1, 50);
        let twice_in_thousand = 1 + self.entropy.below(300);
        self.change_quality(world, Quality { most, twice_in_thousand, ..Quality::default() })
    }

    /// Of half of all ways, for some time.
    fn change_quality(&mut self, world: &mut World, quality: Quality) -> bool {
        let hosts: Vec<Host> = world.machines.iter().map(|machine| machine.host).collect();
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
}
