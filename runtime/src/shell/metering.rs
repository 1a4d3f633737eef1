//! Metrics of one shard: counted in plain integers on the hot path, published with each tick through the `metrics` facade.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::by_type::{ByType, change};
use crate::engine::{Counters, ShardEngine};
use crate::failure::FailureKind;
use crate::options::ShardStats;

/// What one shard reports. Handles are taken once; shards share the series, because a shard is no label.
pub(super) struct Meter {
    /// The counts of the leaderships that are over.
    kept: Counters,
    published: ShardStats,
    latest: Counters,
    published_counters: Counters,
    append_ok: Histogram,
    append_failed: Histogram,
    append_bytes: Histogram,
    append_records: Histogram,
    recovering: Gauge,
    activations: Counter,
    idle: Counter,
    limit: Counter,
    wish: Counter,
    events: Counter,
    accepted: Counter,
    rejected: Counter,
    failed: Counter,
    reads: Counter,
    replayed: Counter,
    recovery_events: Counter,
    by_type: ByType,
}

impl Meter {
    pub(super) fn new() -> Self {
        let commands = |outcome| counter!("holm.entity.commands", "outcome" => outcome);
        let passivations = |reason| counter!("holm.entity.passivations", "reason" => reason);
        let append = |outcome| histogram!("holm.journal.append.duration", "outcome" => outcome);
        Self {
            kept: Counters::default(),
            published: ShardStats::default(),
            latest: Counters::default(),
            published_counters: Counters::default(),
            append_ok: append("ok"),
            append_failed: append("failed"),
            append_bytes: histogram!("holm.journal.append.size"),
            append_records: histogram!("holm.journal.append.records"),
            recovering: gauge!("holm.entity.recovering.count"),
            activations: counter!("holm.entity.activations"),
            idle: passivations("idle"),
            limit: passivations("limit"),
            wish: passivations("wish"),
            events: counter!("holm.journal.append.events"),
            accepted: commands("ok"),
            rejected: commands("rejected"),
            failed: commands("failed"),
            reads: counter!("holm.entity.reads"),
            replayed: counter!("holm.entity.commands.replayed"),
            recovery_events: counter!("holm.entity.recovery.events"),
            by_type: ByType::default(),
        }
    }

    pub(super) fn appended(&mut self, bytes: usize, records: u32) {
        // Lossless: a batch is far below 2^52 bytes.
        self.append_bytes.record(bytes as f64);
        self.append_records.record(f64::from(records));
    }

    pub(super) fn acknowledged(&mut self, took: Duration, ok: bool) {
        let histogram = if ok { &self.append_ok } else { &self.append_failed };
        histogram.record(took.as_secs_f64());
    }

    pub(super) fn failed(&mut self, kind: FailureKind) {
        // Rare, so the label may be looked up each time.
        counter!("holm.entity.restarts", "reason" => kind.name()).increment(1);
    }

    /// Adds the counts of a leadership that is over.
    pub(super) fn keep(&mut self, counters: Counters) {
        self.kept = sum(self.kept, counters);
    }

    /// The counts since the host started, as the host shows them.
    pub(super) fn stats(&mut self, present: Counters) -> ShardStats {
        let all = sum(self.kept, present);
        self.latest = all;
        ShardStats {
            live_entities: present.live,
            recovering: present.recovering,
            held: present.held,
            in_flight: present.in_flight,
            commands: all.commands,
            reads: all.reads,
            events: all.events,
            replayed: all.replayed,
            rejections: all.rejections,
            failures: all.failures,
            activations: all.activations,
            passivations: all.passivations_idle + all.passivations_limit + all.passivations_wish,
            ..ShardStats::default()
        }
    }

    /// Publishes what changed since the last time.
    pub(super) fn publish<T>(&mut self, stats: &ShardStats, engine: Option<&mut ShardEngine<T>>) {
        self.by_type.publish(engine);
        let (now, before) = (self.latest, self.published_counters);
        let rejected = now.rejections - before.rejections;
        self.accepted.increment((now.commands - before.commands).saturating_sub(rejected));
        self.rejected.increment(rejected);
        self.failed.increment(now.failures - before.failures);
        self.reads.increment(now.reads - before.reads);
        self.replayed.increment(now.replayed - before.replayed);
        self.events.increment(now.events - before.events);
        self.activations.increment(now.activations - before.activations);
        self.idle.increment(now.passivations_idle - before.passivations_idle);
        self.limit.increment(now.passivations_limit - before.passivations_limit);
        self.wish.increment(now.passivations_wish - before.passivations_wish);
        self.recovery_events.increment(now.events_replayed - before.events_replayed);
        // Shards share the gauges, so each adds its own change.
        change(&self.recovering, self.published.recovering, stats.recovering);
        (self.published, self.published_counters) = (*stats, now);
    }
}

fn sum(a: Counters, b: Counters) -> Counters {
    Counters {
        commands: a.commands + b.commands,
        reads: a.reads + b.reads,
        events: a.events + b.events,
        rejections: a.rejections + b.rejections,
        failures: a.failures + b.failures,
        replayed: a.replayed + b.replayed,
        activations: a.activations + b.activations,
        passivations_idle: a.passivations_idle + b.passivations_idle,
        passivations_limit: a.passivations_limit + b.passivations_limit,
        passivations_wish: a.passivations_wish + b.passivations_wish,
        events_replayed: a.events_replayed + b.events_replayed,
        batches: a.batches + b.batches,
        batch_bytes: a.batch_bytes + b.batch_bytes,
        live: b.live,
        recovering: b.recovering,
        held: b.held,
        in_flight: b.in_flight,
        quarantined: b.quarantined,
    }
}
