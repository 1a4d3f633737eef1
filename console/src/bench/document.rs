//! What a run of the bench came to: the document of `--json`, and of the file that is saved.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::idle::IdleCluster;
use super::processes::ProcessUse;
use super::sleepers::Sleepers;

/// Longest latency that is told apart.
pub(super) const LONGEST_US: u64 = 60_000_000;

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchDocument {
    /// The machine.
    pub environment: Environment,
    /// How many nodes.
    pub nodes: u32,
    /// Replicas of each shard.
    pub replication: u32,
    /// How many shards.
    pub shards: u32,
    /// How many entities.
    pub entities: u32,
    /// Commands in flight in the closed loop.
    pub in_flight: u32,
    /// Whether the callers of the closed loops ran on the threads of the entities.
    #[serde(default)]
    pub near: bool,
    /// Seconds that each step was measured.
    pub seconds: u64,
    /// The steps.
    pub steps: Vec<StepFigures>,
    /// One entity alone against the disk.
    pub one_entity: Option<OneEntity>,
    /// `fdatasync` calls that the node's store made while the steps ran; absent where the nodes are other processes and do not tell.
    pub fsyncs: Option<u64>,
    /// What subscribers that sleep do, where that was asked for.
    #[serde(default)]
    pub sleepers: Option<Sleepers>,
    /// What clusters take that nobody asks, where that was asked for.
    #[serde(default)]
    pub idle: Vec<IdleCluster>,
}

/// The machine, without which figures say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its processor.
    pub cpu: String,
    /// Its cores.
    pub cores: usize,
    /// Its memory.
    pub memory_mib: u64,
    /// The file system that the data was on.
    pub file_system: String,
    /// The operating system.
    pub system: String,
    /// True for a program built without optimisation, whose figures mean nothing.
    pub debug_build: bool,
    /// The version of Holm.
    pub version: String,
}

/// The figures of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepFigures {
    /// What was done.
    pub name: String,
    /// True when each command was stored durably.
    pub persists: bool,
    /// The rate that was planned; absent in a closed loop.
    pub planned_rate: Option<u32>,
    /// Commands answered per second.
    pub rate: f64,
    /// Half of the answers came within this many milliseconds.
    pub p50_ms: f64,
    /// 90 of 100.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// All of them.
    pub max_ms: f64,
    /// Commands without an answer.
    pub errors: u64,
    /// The first of those errors.
    pub first_error: Option<String>,
    /// Share of sends more than 100 µs after plan; absent in a closed loop.
    pub late: Option<f64>,
    /// `fdatasync` calls of the store during the step, where known.
    pub fsyncs: Option<u64>,
    /// Share of the machine's processor time that its host gave to other machines during the step, where the system tells. Latencies of a
    /// step with more than a few hundredths describe the host.
    #[serde(default)]
    pub stolen: Option<f64>,
    /// Requests in flight; absent at a fixed rate.
    #[serde(default)]
    pub in_flight: Option<u32>,
    /// Replicas of each shard, where they are not those of the document.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// What each process took, warm-up included.
    #[serde(default)]
    pub processes: Vec<ProcessUse>,
    /// Bytes that all processes handed to the disk for each command that stores an event, warm-up included.
    #[serde(default)]
    pub bytes_per_event: Option<f64>,
    /// How the latencies are spread: upper bound in microseconds (a power of two) and count.
    pub buckets: Vec<(u64, u64)>,
    /// All of them, for `--hdr`; not part of the document.
    #[serde(skip)]
    pub(super) latency: Option<Histogram<u64>>,
}

/// One entity alone, and what one fsync per command would allow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OneEntity {
    /// Requests in flight.
    pub in_flight: u32,
    /// Commands per second of the one entity.
    pub rate: f64,
    /// Writes with `fdatasync` per second to a plain file in the same directory, in place, or appended where that is faster: the most that the disk
    /// can do. Measured in the same run.
    pub disk_fsyncs: f64,
    /// How many times as fast as that.
    pub ratio: f64,
    /// The same, appended: what a log without group commit would do.
    #[serde(default)]
    pub disk_appends: f64,
    /// How many times as fast as that.
    #[serde(default)]
    pub ratio_to_appends: f64,
}

impl StepFigures {
    /// From a histogram in microseconds over some time.
    pub(super) fn of(name: &str, latency: &Histogram<u64>, took: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let ms = |us: u64| us as f64 / 1_000.0;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let answered = latency.len() as f64;
        Self {
            name: name.to_owned(),
            rate: answered / took.as_secs_f64(),
            p50_ms: ms(latency.value_at_quantile(0.5)),
            p90_ms: ms(latency.value_at_quantile(0.9)),
            p99_ms: ms(latency.value_at_quantile(0.99)),
            p999_ms: ms(latency.value_at_quantile(0.999)),
            max_ms: ms(latency.max()),
            buckets: buckets(latency),
            latency: Some(latency.clone()),
            ..Self::default()
        }
    }
}

/// Counts between powers of two, from the first that is not empty to the last.
fn buckets(latency: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    for value in latency.iter_recorded() {
        let bound = value.value_iterated_to().max(1).next_power_of_two();
        match buckets.last_mut() {
            Some((last, count)) if *last == bound => *count += value.count_since_last_iteration(),
            _ => buckets.push((bound, value.count_since_last_iteration())),
        }
    }
    buckets
}

/// An empty histogram from a microsecond to a minute.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_US, 3).expect("a minute in microseconds fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_buckets_of_a_histogram() {
        let mut latency = histogram();
        for us in [100, 100, 200, 900] {
            latency.record(us).unwrap();
        }
        let figures = StepFigures::of("x", &latency, Duration::from_secs(2));
        assert!((figures.rate - 2.0).abs() < f64::EPSILON);
        assert_eq!(figures.buckets, [(128, 2), (256, 1), (1_024, 1)]);
        assert!((figures.max_ms - 0.9).abs() < 0.01);
    }
}
