//! A writing process that tests kill: this test binary, started again to run one "test" that writes until it is killed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holm_core::{Entropy as _, Offset, SeededEntropy, SequenceNumber, ShardId, Timestamp};
use holm_persistence::conformance::{address, payload_of, wait};
use holm_persistence::{
    Batch, BatchBuilder, Pending, Record, ShardLog as _, SledLog, Snapshot, Store, StoreOptions,
    StoredEvent, StoredVerdict,
};

use crate::subjects::SHARDS;

const DIRECTORY: &str = "HOLM_TEST_DIRECTORY";
const MODE: &str = "HOLM_TEST_MODE";
const SEED: &str = "HOLM_TEST_SEED";

/// Entities that each shard writes to.
pub(crate) const ENTITIES: u64 = 20;

/// How the child writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Several batches of all shards in flight, until killed.
    Pipelined,
    /// This many batches, one after the other, then an orderly end.
    OneByOne(u64),
}

/// Starts a child on a directory; its acknowledgements come as lines on its standard output.
pub(crate) fn command(dir: &Path, mode: Mode, seed: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let batches = match mode {
        Mode::Pipelined => 0,
        Mode::OneByOne(batches) => batches,
    };
    command
        .args(["--exact", "child::the_writing_process", "--ignored", "--nocapture"])
        .env(DIRECTORY, dir)
        .env(MODE, batches.to_string())
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The acknowledgements of a child, read until its pipe ends. A line that the kill cut off was no acknowledgement.
pub(crate) fn acknowledgements(
    child: &mut Child,
) -> impl Iterator<Item = (ShardId, Offset)> + use<> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    std::iter::from_fn(move || {
        loop {
            let mut line = String::new();
            if output.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return None;
            }
            if let ["ack", shard, offset] = line.split_whitespace().collect::<Vec<_>>()[..] {
                return Some((ShardId(shard.parse().unwrap()), Offset(offset.parse().unwrap())));
            }
        }
    })
}

#[test]
#[ignore = "the body of the child process that other tests start"]
fn the_writing_process() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let store = Store::open(Path::new(&dir), StoreOptions::default()).unwrap();
    let log = Arc::new(SledLog::start(store, SHARDS).unwrap());
    let batches = number(MODE);
    let in_flight = if batches == 0 { 16 } else { 1 };
    let fsyncs_before = log.store().fsyncs();
    write(&log, number(SEED), in_flight, if batches == 0 { u64::MAX } else { batches });
    say(&format!("fsyncs {}", log.store().fsyncs() - fsyncs_before));
}

fn write(log: &SledLog, seed: u64, in_flight: usize, batches: u64) {
    let mut entropy = SeededEntropy::new(seed);
    let mut shards: Vec<ShardWriter> =
        (0..SHARDS).map(|id| ShardWriter::open(log, ShardId(id))).collect();
    let mut pending: VecDeque<(ShardId, Offset, Pending<_>)> = VecDeque::new();
    for _ in 0..batches {
        let shard = &mut shards[usize::try_from(entropy.below(u64::from(SHARDS))).unwrap()];
        let batch = shard.batch(&mut entropy);
        pending.push_back((shard.id, batch.last(), log.append(batch)));
        if entropy.below(50) == 0 {
            shard.save_snapshot(log, &mut entropy);
        }
        if pending.len() >= in_flight {
            let (shard, last, outcome) = pending.pop_front().unwrap();
            wait(outcome).unwrap();
            say(&format!("ack {shard} {last}"));
        }
    }
}

/// In one write, so that a kill cannot cut a line that the parent would take for whole.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Where each chain of a shard ends.
pub(crate) struct ShardWriter {
    pub(crate) id: ShardId,
    term: holm_core::Term,
    next: Offset,
    chains: Vec<(Offset, SequenceNumber)>,
}

impl ShardWriter {
    pub(crate) fn open(log: &SledLog, id: ShardId) -> Self {
        let term = log.newest_term(id).unwrap().next();
        let opened = wait(log.open(id, term)).unwrap();
        let chain = |number| {
            let history = log.history(id, &entity(number), SequenceNumber::ZERO, 1).unwrap();
            (history.head, history.highest)
        };
        Self { id, term, next: opened.last.next(), chains: (0..ENTITIES).map(chain).collect() }
    }

    /// A batch of a few records; now and then one of several parts.
    pub(crate) fn batch(&mut self, entropy: &mut SeededEntropy) -> Batch {
        let mut builder = BatchBuilder::new(self.id, self.term, self.next);
        let padding = if entropy.below(10) == 0 { 40_000 } else { 0 };
        for _ in 0..=entropy.below(5) {
            let number = entropy.below(ENTITIES);
            let (previous, base) = self.chains[usize::try_from(number).unwrap()];
            let (entity, events) = (entity(number), entropy.below(4));
            let payloads: Vec<Vec<u8>> = (1..=events)
                .map(|step| {
                    let mut payload = payload_of(&entity, base.plus(step));
                    payload.resize(payload.len().max(padding), b'.');
                    payload
                })
                .collect();
            let event = |payload| StoredEvent { name: "Counted", schema_version: 1, payload };
            let record = Record {
                entity_type: entity.entity_type(),
                entity_id: entity.id(),
                previous,
                base,
                at: Timestamp::EPOCH,
                command: "count",
                id: Default::default(),
                correlation: Default::default(),
                causation: Default::default(),
                key: holm_core::IdempotencyKey::generate(entropy),
                fingerprint: 0,
                events: payloads.iter().map(|payload| event(&payload[..])).collect(),
                verdict: StoredVerdict::Accepted(b""),
                reactions: Vec::new(),
            };
            let offset = builder.push(&record).unwrap();
            self.chains[usize::try_from(number).unwrap()] = (offset, base.plus(events));
            self.next = offset.next();
        }
        builder.finish()
    }

    fn save_snapshot(&self, log: &SledLog, entropy: &mut SeededEntropy) {
        let number = entropy.below(ENTITIES);
        let (offset, sequence) = self.chains[usize::try_from(number).unwrap()];
        let payload = vec![7; usize::try_from(entropy.below(50_000)).unwrap()].into();
        let snapshot = Snapshot { sequence, offset, at: Timestamp::EPOCH, payload };
        log.save_snapshot(self.id, &entity(number), snapshot, 2).unwrap();
    }
}

pub(crate) fn entity(number: u64) -> holm_core::EntityAddress {
    address(&format!("counter/{number}"))
}
