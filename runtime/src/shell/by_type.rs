//! The series with labels of one shard: live entities by type, durations by type and command. Handles are taken when a label is first met.

use hashbrown::HashMap;
use metrics::{Gauge, Histogram, gauge, histogram};

use crate::engine::{ShardEngine, Timing};

/// Entity type, command, and whether the entity refused.
type Series = (&'static str, &'static str, bool);

#[derive(Default)]
pub(super) struct ByType {
    live: HashMap<&'static str, (Gauge, u64)>,
    durations: HashMap<Series, Histogram>,
}

impl ByType {
    /// Publishes what the engine counted since the last time; without an engine nothing is alive.
    pub(super) fn publish<T>(&mut self, engine: Option<&mut ShardEngine<T>>) {
        let Some(engine) = engine else {
            for (gauge, published) in self.live.values_mut() {
                change(gauge, std::mem::take(published), 0);
            }
            return;
        };
        let durations = &mut self.durations;
        engine.take_timings(|Timing { entity_type, command, rejected, took, count }| {
            let histogram = durations.entry((entity_type, command, rejected)).or_insert_with(|| {
                let outcome = if rejected { "rejected" } else { "ok" };
                histogram!(
                    "holm.entity.command.duration",
                    "entity_type" => entity_type, "command_type" => command, "outcome" => outcome
                )
            });
            histogram.record_many(took.as_secs_f64(), count as usize);
        });
        // A new leadership begins with nobody alive: types that it has not met yet are at zero.
        let mut unmet: Vec<_> = self.live.keys().copied().collect();
        for (entity_type, now) in engine.live_by_type() {
            let entry = self.live.entry(entity_type);
            let (gauge, published) = entry.or_insert_with(|| {
                (gauge!("holm.entity.active.count", "entity_type" => entity_type), 0)
            });
            change(gauge, std::mem::replace(published, now), now);
            unmet.retain(|known| *known != entity_type);
        }
        for entity_type in unmet {
            if let Some((gauge, published)) = self.live.get_mut(entity_type) {
                change(gauge, std::mem::take(published), 0);
            }
        }
    }
}

/// Moves a gauge that all shards share by this shard's own change.
pub(super) fn change(gauge: &Gauge, before: u64, now: u64) {
    let step = |from: u64, to: u64| f64::from(u32::try_from(to - from).unwrap_or(u32::MAX));
    if now > before {
        gauge.increment(step(before, now));
    } else if now < before {
        gauge.decrement(step(now, before));
    }
}
