//! What an engine tells about itself.

use holm_core::{Offset, Term};

use super::tally::Timing;
use super::{Counters, ShardEngine};

impl<T> ShardEngine<T> {
    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            live: self.slots.len() as u64,
            recovering: self.recoveries.len() as u64,
            held: self.recoveries.held() as u64,
            in_flight: (self.pipeline.parked_count() + self.confirmations.len()) as u64,
            quarantined: self.supervisor.quarantined(),
            ..self.counters
        }
    }

    /// Gives how long commands took since this was last called.
    pub fn take_timings(&mut self, mut take: impl FnMut(Timing)) {
        let registry = &self.registry;
        self.tally.drain(|index, rejected, took, count| {
            let kind = registry.kind_at(index.kind);
            let (entity_type, command) = (kind.name(), kind.command_name(index.command));
            take(Timing { entity_type, command, rejected, took, count });
        });
    }

    /// The entity types, each with how many of it are in memory.
    pub fn live_by_type(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.slots.by_kind().iter().zip(0u16..);
        counts.map(|(count, kind)| (self.registry.kind_at(kind).name(), u64::from(*count)))
    }

    /// The term it was made for.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The last offset that it knows to be durable.
    #[must_use]
    pub fn durable_offset(&self) -> Offset {
        self.pipeline.durable()
    }
}
