//! One shard's engine over a log that takes everything at once and keeps nothing.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Limits,
    NodeId, Offset, SeededEntropy, SequenceNumber, ShardId, Term, Timestamp,
};
use holm_persistence::{Batch, History, StoredRecord, encode};
use holm_runtime::engine::{EngineOptions, Loaded, Output, ShardEngine};

use crate::counter::{COUNTERS, Increase, Value, id, registry};

/// One command that changes something, `batch` of them in each batch.
pub(crate) fn durable(batch: u64) -> super::Path {
    let mut shard = Shard::new();
    let increase = encode(&Increase { by: 1 }).expect("a number can be encoded");
    let mut step = 0;
    Box::new(move |times| {
        for _ in 0..times {
            shard.submit(step, "increase", increase.clone());
            step += 1;
            if step % batch == 0 {
                shard.settle();
            }
        }
        shard.settle();
    })
}

/// One command that the entity refuses.
pub(crate) fn refused() -> super::Path {
    let shard = Shard::new();
    let nothing = encode(&Increase { by: 0 }).expect("a number can be encoded");
    shard.each("increase", nothing)
}

/// One read.
pub(crate) fn read() -> super::Path {
    let shard = Shard::new();
    shard.each("value", encode(&Value {}).expect("a number can be encoded"))
}

/// One event of the thousand that bring an entity back.
pub(crate) fn recovered() -> super::Path {
    const EVENTS: u64 = 1_000;
    let records = records(EVENTS);
    Box::new(move |times| {
        // Rounded up, so that a single one is a recovery too.
        for _ in 0..times.div_ceil(EVENTS) {
            let mut shard = Shard::empty();
            shard.history = records.clone();
            shard.submit(0, "value", encode(&Value {}).expect("a number can be encoded"));
            shard.settle();
            black_box(shard.engine.counters().events_replayed);
        }
    })
}

/// The records of one entity, as a log gives them.
fn records(events: u64) -> Vec<StoredRecord> {
    let mut shard = Shard::empty();
    shard.kept = Some(Vec::new());
    let increase = encode(&Increase { by: 1 }).expect("a number can be encoded");
    for _ in 0..events {
        shard.submit(0, "increase", increase.clone());
        shard.settle();
    }
    let batches = shard.kept.take().expect("it was asked to keep them");
    batches.iter().flat_map(|batch| batch.records().collect::<Vec<_>>()).collect()
}

struct Shard {
    engine: ShardEngine<()>,
    entropy: SeededEntropy,
    now: Timestamp,
    /// What the log says of every entity.
    history: Vec<StoredRecord>,
    kept: Option<Vec<Batch>>,
}

impl Shard {
    fn empty() -> Self {
        let engine = ShardEngine::new(EngineOptions {
            shard: ShardId(0),
            term: Term(1),
            last: Offset::ZERO,
            node: NodeId(1),
            registry: registry(),
            limits: Limits::default(),
            anticipated_turns: 0,
            entropy_seed: 1,
        });
        let (entropy, now) = (SeededEntropy::new(1), Timestamp::EPOCH);
        Self { engine, entropy, now, history: Vec::new(), kept: None }
    }

    /// With every entity in memory.
    fn new() -> Self {
        let mut shard = Self::empty();
        let increase = encode(&Increase { by: 1 }).expect("a number can be encoded");
        for step in 0..COUNTERS {
            shard.submit(step, "increase", increase.clone());
            shard.settle();
        }
        shard
    }

    fn each(mut self, command: &'static str, payload: Bytes) -> super::Path {
        let mut step = 0;
        Box::new(move |times| {
            for _ in 0..times {
                self.submit(step, command, payload.clone());
                self.settle();
                step += 1;
            }
        })
    }

    fn submit(&mut self, step: u64, command: &'static str, payload: Bytes) {
        let envelope = CommandEnvelope {
            address: EntityAddress::new("counter", id(step)).expect("a well-formed address"),
            command: command.into(),
            payload,
            key: IdempotencyKey::generate(&mut self.entropy),
            id: CommandId(1),
            correlation: CorrelationId(1),
            causation: CausationId(1),
            deadline: self.now.plus(Duration::from_secs(1)),
        };
        self.engine.submit(self.now, envelope, ());
    }

    /// Until nothing is left to be done.
    fn settle(&mut self) {
        loop {
            self.engine.flush(2);
            let Some(output) = self.engine.poll_output() else { return };
            match output {
                Output::Append(batch) => {
                    if let Some(kept) = &mut self.kept {
                        kept.push(batch);
                    }
                    self.engine.durable(self.now);
                }
                Output::Confirm(token) => self.engine.confirmed(self.now, token, Ok(())),
                Output::Load(request) => {
                    let loaded = self.load();
                    self.engine.loaded(self.now, request.ticket, Ok(loaded));
                }
                Output::Answer((), answer) => drop(black_box(answer.expect("nothing fails here"))),
                _ => {}
            }
        }
    }

    fn load(&self) -> Loaded {
        let records = self.history.clone();
        let head = records.last().map_or(Offset::ZERO, |record| record.offset);
        let highest = SequenceNumber(records.len() as u64);
        let history = History { records, highest, head, more: false };
        Loaded::Start { snapshot: None, history, newest: None }
    }
}
