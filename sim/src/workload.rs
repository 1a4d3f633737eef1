//! The workload: draws what a client does next, from a seed and a small memory of what was done before. Pure.
//!
//! It is made to be unpleasant: hot keys and cold ones, retries from another node, the same command twice at once, keys used again for something else,
//! commands too long by one byte, poison, deadlines that cannot be met. How much of each is drawn anew for every seed ([`Mix`]), since a mix
//! of everything hides what only happens when something is missing. Nothing is awaited or sent here.

mod domains;
mod kind;
mod mix;
mod registers;
mod relics;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{EntityAddress, Entropy, IdempotencyKey, Limits, SeededEntropy};
use holm_domains::bank::{Account, Balance};
use holm_domains::flights::{Airport, Totals};
use holm_domains::seats::{Map, Show};
use holm_persistence::encode;
use holm_runtime::{Command, Entity, Registry};

pub use self::kind::Kind;
pub use self::mix::Mix;
use self::registers::Registers;
use crate::history::Told;
use crate::register::{Look, Register};
use crate::relic::{Count, Relic};
use crate::tally::Tally;

/// Earlier commands that may be sent again: far fewer than the window of keys, so that a retry still finds the record of its first try.
const REMEMBERED: usize = 128;

/// The entity types that the workload asks, and the one that only the policy tells.
#[must_use]
pub fn registry() -> Registry {
    let domains = Registry::new().entity::<Register>().entity::<Account>().entity::<Show>();
    domains.entity::<Airport>().entity::<Relic>().entity::<Tally>()
}

/// What a client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What it is drawn for.
    pub kind: Kind,
    /// Whom to ask.
    pub entity: EntityAddress,
    /// The command's name.
    pub command: &'static str,
    /// Whether it changes nothing by its type.
    pub reads: bool,
    /// The key; an earlier one when this is a retry.
    pub key: IdempotencyKey,
    /// The encoded command.
    pub payload: Bytes,
    /// Through which nodes, by their places among the nodes of the run: one try through each, all at once. Mostly one.
    pub through: Vec<usize>,
    /// How long the client waits.
    pub patience: Duration,
}

/// Draws commands.
#[derive(Debug)]
pub struct Workload {
    mix: Mix,
    limits: Limits,
    entropy: SeededEntropy,
    registers: Registers,
    /// Commands that may be sent again, oldest first.
    recent: VecDeque<Ask>,
    /// Those of unknown outcome, which are worth sending again before all others.
    open: VecDeque<Ask>,
}

impl Workload {
    /// The workload of a seed, for clients of so many nodes that were given these limits.
    ///
    /// # Panics
    /// When there is no node.
    #[must_use]
    pub fn new(seed: u64, nodes: usize, limits: Limits) -> Self {
        assert!(nodes > 0, "somebody must be asked");
        let mut entropy = SeededEntropy::new(seed);
        let mut mix = Mix::draw(&mut entropy, nodes);
        mix.draw_later(&mut SeededEntropy::new(seed ^ 0x0C02_5ED1));
        let registers = Registers::new(&mix);
        Self { mix, limits, entropy, registers, recent: VecDeque::new(), open: VecDeque::new() }
    }

    /// The same as it was before there were relics.
    #[must_use]
    pub fn without_relics(mut self) -> Self {
        self.mix.leave_out(Kind::Relic);
        self
    }

    /// How much of what this seed brings.
    #[must_use]
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// Draws the next command.
    pub fn draw(&mut self) -> Ask {
        let kind = self.mix.draw_kind(&mut self.entropy);
        let ask = match kind {
            Kind::Repeat | Kind::Elsewhere | Kind::Twins | Kind::ReusedKey => self.again(kind),
            Kind::Bank => domains::bank(self),
            Kind::Seats => domains::seats(self),
            Kind::Flights => domains::flights(self),
            Kind::Relic => relics::ask(self),
            _ => registers::ask(self, kind),
        };
        if !ask.reads {
            remember(&mut self.recent, &ask);
        }
        ask
    }

    /// From now on so many nodes can be asked: there may be more than at the beginning, and never fewer.
    pub fn grow(&mut self, nodes: usize) {
        self.mix.nodes = self.mix.nodes.max(nodes);
    }

    /// A read of everything that an entity shows; of a register when its type is none of the workload's.
    pub fn look_at(&mut self, entity: &EntityAddress) -> Ask {
        let id = entity.id();
        match entity.entity_type() {
            Account::TYPE => self.fresh::<Account, _>(Kind::Bank, id, &Balance {}, true),
            Show::TYPE => self.fresh::<Show, _>(Kind::Seats, id, &Map {}, true),
            Relic::TYPE => self.fresh::<Relic, _>(Kind::Relic, id, &Count {}, true),
            Airport::TYPE => self.fresh::<Airport, _>(Kind::Flights, id, &Totals {}, true),
            _ => self.fresh::<Register, _>(Kind::Look, id, &Look {}, true),
        }
    }

    /// What a client was told, so that open outcomes are asked again.
    pub fn told(&mut self, ask: &Ask, told: &Told) {
        if told.is_unknown() && !ask.reads {
            remember(&mut self.open, ask);
        }
    }

    /// An earlier command once more, in the way of `kind`; a fresh write while there is none.
    fn again(&mut self, kind: Kind) -> Ask {
        let open = !self.open.is_empty() && self.chance(1, 2);
        let from = if open { &self.open } else { &self.recent };
        if from.is_empty() {
            return registers::ask(self, Kind::Write);
        }
        let place = usize::try_from(self.entropy.below(from.len() as u64)).unwrap_or_default();
        let earlier = if open { self.open.remove(place) } else { self.recent.get(place).cloned() };
        let Some(mut ask) = earlier else { return registers::ask(self, Kind::Write) };
        ask.kind = kind;
        ask.patience = self.mix.patience;
        let first = ask.through.first().copied().unwrap_or_default();
        ask.through = vec![first];
        match kind {
            Kind::Elsewhere => ask.through = vec![(first + 1) % self.mix.nodes],
            Kind::Twins => {
                ask.through =
                    (0..2 + self.below(2)).map(|step| (first + step) % self.mix.nodes).collect()
            }
            Kind::ReusedKey if ask.entity.entity_type() == Register::TYPE => {
                let other = registers::ask(self, Kind::Write);
                (ask.command, ask.payload) = (other.command, other.payload);
            }
            // Only a register can be asked for anything at any time; for the others it is a retry.
            _ => ask.kind = Kind::Repeat,
        }
        ask
    }

    /// A new intention.
    fn fresh<E: Entity, C: Command>(
        &mut self,
        kind: Kind,
        id: &str,
        command: &C,
        reads: bool,
    ) -> Ask {
        let node = self.below(self.mix.nodes);
        Ask {
            kind,
            entity: EntityAddress::new(E::TYPE, id).expect("the workload's ids are well-formed"),
            command: C::NAME,
            reads,
            key: self.key(),
            payload: encode(command).expect("the workload's commands can be encoded"),
            through: vec![node],
            patience: self.mix.patience,
        }
    }

    /// Drawn keys mostly, as clients make them; sometimes one that a person chose.
    fn key(&mut self) -> IdempotencyKey {
        if self.chance(1, 8) {
            let text = format!("order-{:016x}", self.entropy.next_u64());
            return text.parse().expect("printable and short");
        }
        IdempotencyKey::generate(&mut self.entropy)
    }

    /// One of the ids of a type: a hot one or a cold one.
    fn id(&mut self) -> usize {
        if self.chance(self.mix.hot_percent, 100) {
            self.below(self.mix.hot)
        } else {
            self.mix.hot + self.below(self.mix.cold)
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.entropy.below(bound as u64)).expect("below a usize")
    }

    fn entropy_below(&mut self, bound: u64) -> u64 {
        self.entropy.below(bound)
    }

    fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.entropy.below(whole) < part
    }
}

fn remember(asks: &mut VecDeque<Ask>, ask: &Ask) {
    if asks.len() == REMEMBERED {
        asks.pop_front();
    }
    asks.push_back(ask.clone());
}

#[cfg(test)]
mod tests;
