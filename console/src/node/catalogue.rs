//! The catalogue of metrics: each by its OpenTelemetry name with unit and meaning. The Prometheus names follow from it: dots become underscores, the
//! unit becomes a suffix, and a counter ends in `_total`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Histograms that are no durations, with their buckets.
pub(super) const SIZE_BUCKETS: [(&str, &[f64]); 2] = [
    // A batch is closed at 1 MiB.
    (
        "holm_journal_append_size",
        &[512.0, 2_048.0, 8_192.0, 32_768.0, 131_072.0, 524_288.0, 1_048_576.0],
    ),
    ("holm_journal_append_records", &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0]),
];

const COUNTERS: [(&str, &str); 12] = [
    (
        "holm.projection.events",
        "facts that projections handled, parked or skipped, and attempts on them that failed, by outcome",
    ),
    ("holm.entity.commands", "commands that may change an entity, by outcome"),
    (
        "holm.entity.commands.replayed",
        "answers taken from the record of an earlier try with the same key",
    ),
    ("holm.entity.reads", "read-only commands"),
    ("holm.entity.activations", "entities brought into memory"),
    ("holm.entity.passivations", "entities put to rest, by reason"),
    ("holm.entity.restarts", "entities dropped and recovered because they failed, by reason"),
    ("holm.entity.recovery.events", "events replayed by recoveries"),
    ("holm.journal.append.events", "events written"),
    ("holm.journal.fsyncs", "fdatasync calls really made by the committer"),
    ("holm.store.groups", "group commits of all shards together"),
    ("holm.store.entries", "log entries in those group commits"),
];

const GAUGES: [(&str, &str); 8] = [
    (
        "holm.projection.lag.events",
        "records between the position of a projection and the ends of the logs",
    ),
    ("holm.cluster.member.count", "members of the cluster, by state, as this node sees them"),
    ("holm.shard.count", "shards of the cluster, by state, as this node sees them"),
    ("holm.shard.leading.count", "shards that this node leads"),
    ("holm.shard.resting.count", "replicas of shards here whose groups rest"),
    ("holm.entity.active.count", "entities in the memory of this node, by type"),
    ("holm.entity.recovering.count", "entities being recovered by this node"),
    ("holm.entity.command.in_flight", "commands whose answer waits for the log"),
];

const DURATIONS: [(&str, &str); 3] = [
    (
        "holm.entity.command.duration",
        "from arrival at the shard to the answer, by type, command and outcome",
    ),
    (
        "holm.journal.append.duration",
        "from handing a batch to the log until it is durable, by outcome",
    ),
    ("holm.cluster.peer.rtt", "round trip to a peer"),
];

/// Tells the recorder what each metric means.
pub(super) fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, Unit::Count, meaning);
    }
    for (name, meaning) in GAUGES {
        describe_gauge!(name, Unit::Count, meaning);
    }
    for (name, meaning) in DURATIONS {
        describe_histogram!(name, Unit::Seconds, meaning);
    }
    describe_gauge!("holm.disk.free", Unit::Bytes, "space left on the disk of the data directory");
    describe_gauge!(
        "holm.projection.lag.time",
        Unit::Seconds,
        "how long the oldest record has waited that a projection has not read"
    );
    describe_gauge!(
        "holm.subscription.lag.time",
        Unit::Seconds,
        "how old the oldest fact is that a subscriber with a name was given here and has not gone beyond"
    );
    describe_histogram!("holm.journal.append.size", Unit::Bytes, "bytes of a batch");
    describe_histogram!("holm.journal.append.records", Unit::Count, "records of a batch");
}
