//! Right histories: what clients and disks see of two shards of registers that keep every promise.
//!
//! A dozen lines of model instead of a cluster: commands are sent, executed one after the other, made durable in batches, answered, retried, refused, and
//! sometimes their answers are lost. Everything is drawn from a seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use holm_core::{
    Entropy, Limit, NodeId, Offset, Outcome, SeededEntropy, SequenceNumber, ShardId, Term,
    Timestamp,
};
use holm_persistence::encode;
use holm_runtime::Command;

use crate::checks::{GROUP, SHARED};
use crate::history::{
    Call, Content, History, Measure, Moment, Operation, Place, Sample, SeenBatch, SeenEvent,
    SeenFact, SeenRecord, SeenSnapshot, Told,
};
use crate::register::{Burst, Look, Register, RegisterEvent, RegisterRejection, Swap, Write};

/// Three disks hold a copy each.
pub(crate) const NODES: u64 = 3;

/// A history in pieces, so that a test can spoil one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) operations: Vec<Operation>,
    pub(crate) batches: Vec<SeenBatch>,
    pub(crate) snapshots: Vec<SeenSnapshot>,
    pub(crate) facts: Vec<SeenFact>,
    pub(crate) samples: Vec<Sample>,
}

impl Parts {
    pub(crate) fn history(&self) -> History {
        let mut history = History::default();
        let parts = self.clone();
        parts.operations.into_iter().for_each(|it| history.add_operation(it).unwrap());
        parts.batches.into_iter().for_each(|it| history.observe_batch(it).unwrap());
        parts.snapshots.into_iter().for_each(|it| history.observe_snapshot(it).unwrap());
        parts.facts.into_iter().for_each(|it| history.observe_fact(it).unwrap());
        parts.samples.into_iter().for_each(|it| history.observe_sample(it).unwrap());
        history
    }
}

#[derive(Default)]
struct Entity {
    state: Register,
    sequence: SequenceNumber,
    head: Offset,
    /// The answer under each key.
    keys: BTreeMap<String, (Place, Told)>,
}

struct Shard {
    term: Term,
    leader: NodeId,
    next: Offset,
    open: Vec<SeenRecord>,
}

/// A command on its way: sent, or executed and waiting for its batch.
struct Flight {
    operation: usize,
    ask: Ask,
    told: Option<Told>,
}

#[derive(Clone)]
enum Ask {
    Look,
    Write(Write),
    Swap(Swap),
    Burst(Burst),
}

struct World {
    entropy: SeededEntropy,
    parts: Parts,
    now: u64,
    asks: Vec<Ask>,
    entities: Vec<Entity>,
    shards: Vec<Shard>,
    flights: Vec<Flight>,
}

/// The history that follows from a seed.
pub(crate) fn right(seed: u64, steps: usize) -> Parts {
    let shard =
        |leader| Shard { term: Term(1), leader: NodeId(leader), next: Offset(1), open: Vec::new() };
    let mut world = World {
        entropy: SeededEntropy::new(seed),
        parts: Parts::default(),
        now: 0,
        asks: Vec::new(),
        entities: (0..3).map(|_| Entity::default()).collect(),
        shards: vec![shard(1), shard(2)],
        flights: Vec::new(),
    };
    for _ in 0..steps {
        world.step();
    }
    (0..world.shards.len()).for_each(|shard| world.close(shard));
    world.parts.samples = full();
    world.parts
}

/// Every node holds exactly as much as it may.
fn full() -> Vec<Sample> {
    let most = [
        (Measure::LiveEntities, 100_000),
        (Measure::HeldCommands, 8_192),
        (Measure::BatchesInFlight, 8),
        (Measure::QueuedBytes, 512 << 20),
        (Measure::UnsentBytes, 32 << 20),
        (Measure::UnsentBulkBytes, 130 << 20),
    ];
    let of = |(measure, amount)| {
        let sample = move |node| Sample { at: Moment(1), node: NodeId(node), measure, amount };
        (1..=NODES).map(sample)
    };
    most.into_iter().flat_map(of).collect()
}

impl World {
    fn step(&mut self) {
        self.now += 1 + self.entropy.below(5);
        let sent = self.flights.iter().position(|flight| flight.told.is_none());
        match self.entropy.below(16) {
            0..=4 if self.flights.len() < 6 => self.send(),
            5 => self.retry(),
            6..=9 => _ = sent.map(|flight| self.execute(flight)),
            10 | 11 => {
                let shard = self.entropy.below(2) as usize;
                self.close(shard);
            }
            12..=14 => self.answer(),
            _ => self.trouble(sent),
        }
    }

    fn send(&mut self) {
        let value = (self.asks.len() as u64 + 1) * 1_000;
        let entity = self.entropy.below(3) as usize;
        let expected = self.entities[entity].state.value;
        let ask = match self.entropy.below(8) {
            0..=2 => Ask::Look,
            3 | 4 => Ask::Write(Write { value }),
            5 => Ask::Swap(Swap { expected, value }),
            6 => Ask::Swap(Swap { expected: 7, value }),
            _ => Ask::Burst(Burst { first: value, count: self.entropy.below(4) as u8 }),
        };
        let key = format!("k{}", self.asks.len());
        self.begin(entity, ask, &key);
    }

    /// The same intention again, from anywhere.
    fn retry(&mut self) {
        if self.asks.is_empty() {
            return;
        }
        let earlier = self.entropy.below(self.asks.len() as u64) as usize;
        let call = self.parts.operations[earlier].call.clone();
        let entity = call.entity.id()[1..].parse().unwrap();
        if !call.reads {
            self.begin(entity, self.asks[earlier].clone(), &call.key.to_string());
        }
    }

    fn begin(&mut self, entity: usize, ask: Ask, key: &str) {
        let (command, payload) = match &ask {
            Ask::Look => (Look::NAME, encode(&Look {})),
            Ask::Write(write) => (Write::NAME, encode(write)),
            Ask::Swap(swap) => (Swap::NAME, encode(swap)),
            Ask::Burst(burst) => (Burst::NAME, encode(burst)),
        };
        let payload = payload.unwrap();
        let operation = self.parts.operations.len();
        let call = Call {
            client: self.entropy.below(5) as u32,
            asked: NodeId(1 + self.entropy.below(NODES)),
            entity: format!("register/r{entity}").parse().unwrap(),
            command: command.into(),
            reads: matches!(ask, Ask::Look),
            key: key.parse().unwrap(),
            fingerprint: Some(Call::fingerprint_of(command, &payload)),
            payload: Content::of(&payload),
            invoked: Moment(self.now),
            deadline: Moment(1_000_000),
        };
        self.parts.operations.push(Operation { call, completed: None, told: Told::Open });
        self.asks.push(ask.clone());
        self.flights.push(Flight { operation, ask, told: None });
    }

    fn execute(&mut self, flight: usize) {
        let (operation, ask) = (self.flights[flight].operation, self.flights[flight].ask.clone());
        let call = self.parts.operations[operation].call.clone();
        let index: usize = call.entity.id()[1..].parse().unwrap();
        let shard_index = index % 2;
        let (entity, shard) = (&mut self.entities[index], &mut self.shards[shard_index]);
        let mut place = Place {
            sequence: entity.sequence,
            shard: ShardId(shard_index as u32),
            offset: entity.head,
            replayed: false,
            served_by: shard.leader,
        };
        if let Some((first, told)) = entity.keys.get(&call.key.to_string()) {
            let place = Place { replayed: true, served_by: shard.leader, ..*first };
            self.flights[flight].told = Some(replaced(told, place));
            return;
        }
        let found = entity.state.value;
        let (values, rejected) = match ask {
            Ask::Look => {
                let reply = Content::of(&encode(&found).unwrap());
                self.flights[flight].told = Some(Told::Accepted { reply, place });
                return;
            }
            Ask::Write(write) => (vec![write.value], None),
            Ask::Swap(swap) if swap.expected == found => (vec![swap.value], None),
            Ask::Swap(swap) => {
                let expected = swap.expected;
                (vec![], Some(RegisterRejection::Mismatch { expected, found }))
            }
            Ask::Burst(burst) => {
                ((burst.first..burst.first + u64::from(burst.count)).collect(), None)
            }
        };
        let verdict = rejected.map_or_else(|| encode(&found), |it| encode(&it)).unwrap();
        let record = SeenRecord {
            entity: call.entity.clone(),
            previous: entity.head,
            base: entity.sequence,
            at: Timestamp::from_millis(self.now),
            command: call.command.clone(),
            key: call.key.clone(),
            fingerprint: call.fingerprint.unwrap(),
            events: values.iter().map(|value| written(*value)).collect(),
            rejected: rejected.is_some(),
            verdict: verdict.clone(),
        };
        if let Some(last) = values.last() {
            entity.state.value = *last;
            entity.state.writes += values.len() as u64;
        }
        (entity.sequence, entity.head) = (record.last_sequence(), shard.next);
        (place.sequence, place.offset) = (entity.sequence, shard.next);
        shard.next = shard.next.next();
        shard.open.push(record);
        let content = Content::of(&verdict);
        let told = match rejected {
            None => Told::Accepted { reply: content, place },
            Some(_) => Told::Rejected { rejection: content, place },
        };
        entity.keys.insert(call.key.to_string(), (place, told.clone()));
        self.flights[flight].told = Some(told);
        if self.entropy.below(4) == 0 && self.entities[index].sequence.0 > 0 {
            self.snapshot(index);
        }
    }

    fn close(&mut self, shard_index: usize) {
        let shard = &mut self.shards[shard_index];
        if shard.open.is_empty() {
            return;
        }
        let records = std::mem::take(&mut shard.open);
        let first = Offset(shard.next.0 - records.len() as u64);
        let (term, shard) = (shard.term, ShardId(shard_index as u32));
        self.publish(shard, first, &records);
        self.parts.batches.extend((1..=NODES).map(|node| SeenBatch {
            node: NodeId(node),
            shard,
            term,
            first,
            records: records.clone(),
        }));
    }

    /// Gives what became durable to two groups, some of it twice, and to somebody who follows alone.
    fn publish(&mut self, shard: ShardId, first: Offset, records: &[SeenRecord]) {
        for (offset, record) in (first.0..).map(Offset).zip(records) {
            for (index, event) in (0u32..).zip(&record.events) {
                let given = |follower| SeenFact {
                    follower,
                    shard,
                    offset,
                    index,
                    entity: record.entity.clone(),
                    sequence: record.base.plus(u64::from(index) + 1),
                    event: event.name.clone(),
                };
                self.parts.facts.extend([given(GROUP), given(1), given(SHARED)]);
                if offset.0.is_multiple_of(3) {
                    self.parts.facts.extend([given(GROUP), given(SHARED)]);
                }
            }
        }
    }

    /// Answers a command whose batch is durable, or loses the answer.
    fn answer(&mut self) {
        let durable = |flight: &Flight| {
            let Some(place) = flight.told.as_ref()?.place() else { return Some(false) };
            let shard = &self.shards[place.shard.0 as usize];
            Some(place.offset.0 + (shard.open.len() as u64) < shard.next.0)
        };
        let Some(flight) = self.flights.iter().position(|flight| durable(flight) == Some(true))
        else {
            return;
        };
        let flight = self.flights.remove(flight);
        let told = if self.entropy.below(8) == 0 { unknown() } else { flight.told.unwrap() };
        self.complete(flight.operation, told);
    }

    /// Refuses a command, loses it on its way, or lets another node lead.
    fn trouble(&mut self, sent: Option<usize>) {
        let shard = self.entropy.below(2) as usize;
        match (self.entropy.below(3), sent) {
            (0, Some(flight)) => {
                let flight = self.flights.remove(flight);
                let told = Told::Failed {
                    effect: Outcome::NotApplied,
                    limit: Some(Limit::MailboxCapacity),
                    error: "overloaded".into(),
                };
                self.complete(flight.operation, told);
            }
            (1, Some(flight)) => {
                let flight = self.flights.remove(flight);
                self.complete(flight.operation, unknown());
            }
            _ => {
                self.close(shard);
                let shard = &mut self.shards[shard];
                shard.term = shard.term.next();
                shard.leader = NodeId(1 + self.entropy.below(NODES));
            }
        }
    }

    fn complete(&mut self, operation: usize, told: Told) {
        let operation = &mut self.parts.operations[operation];
        (operation.completed, operation.told) = (Some(Moment(self.now)), told);
    }

    fn snapshot(&mut self, index: usize) {
        let entity = &self.entities[index];
        self.parts.snapshots.push(SeenSnapshot {
            node: self.shards[index % 2].leader,
            entity: format!("register/r{index}").parse().unwrap(),
            sequence: entity.sequence,
            offset: entity.head,
            at: Timestamp::from_millis(self.now),
            payload: snapshot_of(&entity.state),
        });
    }
}

/// A snapshot's payload as the runtime writes it: format version, no remembered keys, the state.
pub(crate) fn snapshot_of(state: &Register) -> Bytes {
    let state = encode(state).unwrap();
    let parts = encode(&(Vec::<u64>::new(), serde_bytes::Bytes::new(&state))).unwrap();
    [&[1][..], &parts].concat().into()
}

pub(crate) fn written(value: u64) -> SeenEvent {
    let payload = encode(&RegisterEvent::Written { value }).unwrap();
    SeenEvent { name: "Written".into(), schema_version: 1, payload }
}

fn unknown() -> Told {
    Told::Failed { effect: Outcome::Unknown, limit: None, error: "connection lost".into() }
}

fn replaced(told: &Told, place: Place) -> Told {
    match told.clone() {
        Told::Accepted { reply, .. } => Told::Accepted { reply, place },
        Told::Rejected { rejection, .. } => Told::Rejected { rejection, place },
        other => other,
    }
}
