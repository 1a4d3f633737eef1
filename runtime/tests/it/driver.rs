//! Drives an engine by hand: every input happens when the test says so, over a log in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use holm_core::{
    Answer, AskError, CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress,
    IdempotencyKey, Limits, NodeId, Offset, ShardId, Term, Timestamp, Verdict,
};
use holm_persistence::{
    AppendError, Batch, MemoryLog, Pending, ReadError, ShardLog, SnapshotCriteria, StoredRecord,
    decode, encode,
};
use holm_runtime::Command;
use holm_runtime::FailureFact;
use holm_runtime::engine::{
    ConfirmToken, EngineOptions, LoadRequest, Loaded, Output, ShardEngine, UsableSnapshots, Wanted,
};

use crate::account::registry;
use crate::brittle::with_brittle;

pub(crate) const SHARD: ShardId = ShardId(0);

/// Where an answer goes: the number of the command.
pub(crate) type Caller = usize;

pub(crate) struct Driver {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) engine: ShardEngine<Caller>,
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
    pub(crate) term: Term,
    pub(crate) appends: VecDeque<Pending<Result<(), AppendError>>>,
    pub(crate) loads: VecDeque<LoadRequest>,
    pub(crate) confirms: VecDeque<ConfirmToken>,
    /// In the order in which they left the engine, with the last durable offset of that moment.
    pub(crate) answers: Vec<(Caller, Result<Answer, AskError>, Offset)>,
    pub(crate) failures: Vec<FailureFact>,
    /// How many answers had left before each of them.
    pub(crate) answered_before: Vec<usize>,
    pub(crate) reacting: Vec<Batch>,
    pub(crate) snapshots: Vec<u64>,
    pub(crate) drained: bool,
    /// Every batch handed to the log, in order.
    pub(crate) trace: Vec<Bytes>,
    callers: Caller,
}

impl Driver {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::over(Arc::new(MemoryLog::new()), limits, Term(1))
    }

    pub(crate) fn over(log: Arc<MemoryLog>, limits: Limits, term: Term) -> Self {
        Self {
            engine: open(&log, &limits, term),
            log,
            limits,
            now: Timestamp::from_millis(1_000_000),
            term,
            appends: VecDeque::new(),
            loads: VecDeque::new(),
            confirms: VecDeque::new(),
            answers: Vec::new(),
            failures: Vec::new(),
            answered_before: Vec::new(),
            reacting: Vec::new(),
            snapshots: Vec::new(),
            drained: false,
            trace: Vec::new(),
            callers: 0,
        }
    }

    /// Forgets everything in memory and opens the shard at the next term.
    pub(crate) fn reopen(&mut self) {
        self.engine.depose();
        self.carry_out();
        self.term = self.term.next();
        self.engine = open(&self.log, &self.limits, self.term);
        self.appends.clear();
        self.loads.clear();
        self.confirms.clear();
    }

    pub(crate) fn submit<C: Command>(&mut self, id: &str, command: &C, key: &str) -> Caller {
        let deadline = self.now.plus(Duration::from_secs(3600));
        self.submit_until(id, command, key, deadline)
    }

    /// The same to an entity of any type: `type/id`.
    pub(crate) fn submit_to<C: Command>(&mut self, to: &str, command: &C, key: &str) -> Caller {
        self.submit_named(to, C::NAME, encode(command).unwrap(), key)
    }

    pub(crate) fn submit_named(
        &mut self,
        to: &str,
        command: &str,
        payload: Bytes,
        key: &str,
    ) -> Caller {
        let caller = self.callers;
        self.callers += 1;
        let envelope = CommandEnvelope {
            address: to.parse().unwrap(),
            command: command.to_owned().into(),
            payload,
            key: IdempotencyKey::new(key).unwrap(),
            id: CommandId(caller as u128),
            correlation: CorrelationId(1_000 + caller as u128),
            causation: CausationId(8),
            deadline: self.now.plus(Duration::from_secs(3600)),
        };
        self.engine.submit(self.now, envelope, caller);
        self.carry_out();
        caller
    }

    /// Submits to an entity of any type, settles, and gives the answer.
    pub(crate) fn ask_of<C: Command>(
        &mut self,
        to: &str,
        command: &C,
        key: &str,
    ) -> Result<Answer, AskError> {
        let caller = self.submit_to(to, command, key);
        self.settle();
        self.answer(caller).unwrap_or_else(|| panic!("command {caller} got no answer"))
    }

    pub(crate) fn submit_until<C: Command>(
        &mut self,
        id: &str,
        command: &C,
        key: &str,
        deadline: Timestamp,
    ) -> Caller {
        self.submit_encoded(id, C::NAME, encode(command).unwrap(), (key, deadline))
    }

    fn submit_encoded(
        &mut self,
        id: &str,
        command: &'static str,
        payload: Bytes,
        (key, deadline): (&str, Timestamp),
    ) -> Caller {
        let caller = self.callers;
        self.callers += 1;
        let envelope = CommandEnvelope {
            address: EntityAddress::new("account", id).unwrap(),
            command: command.into(),
            payload,
            key: IdempotencyKey::new(key).unwrap(),
            id: CommandId(caller as u128),
            correlation: CorrelationId(7),
            causation: CausationId(8),
            deadline,
        };
        self.engine.submit(self.now, envelope, caller);
        self.carry_out();
        caller
    }

    /// Submits as an outbox does that cannot know whether an earlier try arrived.
    pub(crate) fn submit_again<C: Command>(&mut self, id: &str, command: &C, key: &str) -> Caller {
        self.submit_wrapped_as(id, C::NAME, encode(command).unwrap().to_vec(), key)
    }

    /// Wraps whatever it is.
    pub(crate) fn submit_wrapped(&mut self, command: &str, payload: Vec<u8>) -> Caller {
        self.submit_wrapped_as("a", command, payload, "wrapped")
    }

    fn submit_wrapped_as(
        &mut self,
        id: &str,
        command: &str,
        payload: Vec<u8>,
        key: &str,
    ) -> Caller {
        let payload = encode(&(command, payload, Offset::ZERO)).unwrap();
        let deadline = self.now.plus(Duration::from_secs(3600));
        self.submit_encoded(id, "holm-again", payload, (key, deadline))
    }

    /// The same, settles, and gives the answer.
    pub(crate) fn ask_again<C: Command>(
        &mut self,
        id: &str,
        command: &C,
        key: &str,
    ) -> Result<Answer, AskError> {
        let caller = self.submit_again(id, command, key);
        self.settle();
        self.answer(caller).unwrap_or_else(|| panic!("command {caller} got no answer"))
    }

    pub(crate) fn flush(&mut self) {
        self.flush_to(2);
    }

    /// As a log does that works on so many batches of a shard.
    pub(crate) fn flush_to(&mut self, batches_at_once: usize) {
        self.engine.flush(batches_at_once);
        self.carry_out();
    }

    pub(crate) fn tick(&mut self, passed: Duration) {
        self.now = self.now.plus(passed);
        self.engine.tick(self.now);
        self.carry_out();
    }

    /// Takes the acknowledgement of the oldest batch, when there is one. A failed write ends the engine; the shard is opened again.
    pub(crate) fn acknowledge(&mut self) -> bool {
        let Some(pending) = self.appends.front_mut() else { return false };
        let Some(result) = pending.now_or_never() else { return false };
        self.appends.pop_front();
        match result {
            Ok(()) => {
                self.engine.durable(self.now);
                self.carry_out();
            }
            Err(error) => {
                self.engine.failed(&error);
                self.carry_out();
                self.reopen();
            }
        }
        true
    }

    pub(crate) fn confirm(&mut self) -> bool {
        let Some(token) = self.confirms.pop_front() else { return false };
        let result = self.log.confirm(SHARD, self.term).now_or_never().unwrap();
        self.engine.confirmed(self.now, token, result);
        self.carry_out();
        true
    }

    /// Answers the `index`th load that waits.
    pub(crate) fn load(&mut self, index: usize) -> bool {
        if self.loads.is_empty() {
            return false;
        }
        let request = self.loads.remove(index % self.loads.len()).unwrap();
        let loaded = read(&self.log, &request);
        self.engine.loaded(self.now, request.ticket, loaded);
        self.carry_out();
        true
    }

    /// Lets everything happen until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = self.load(0);
            moved |= self.acknowledge();
            moved |= self.confirm();
            self.flush();
            if !moved
                && self.loads.is_empty()
                && self.appends.is_empty()
                && self.confirms.is_empty()
            {
                return;
            }
        }
    }

    /// Submits, settles, and gives the answer.
    pub(crate) fn ask<C: Command>(
        &mut self,
        id: &str,
        command: &C,
        key: &str,
    ) -> Result<Answer, AskError> {
        let caller = self.submit(id, command, key);
        self.settle();
        self.answer(caller).unwrap_or_else(|| panic!("command {caller} got no answer"))
    }

    pub(crate) fn answer(&self, caller: Caller) -> Option<Result<Answer, AskError>> {
        let mut mine = self.answers.iter().filter(|(to, _, _)| *to == caller);
        let answer = mine.next().map(|(_, answer, _)| answer.clone());
        assert!(mine.next().is_none(), "command {caller} was answered twice");
        answer
    }

    /// Every record of the log, in offset order.
    pub(crate) fn records(&self) -> Vec<StoredRecord> {
        let batches = self.log.read(SHARD, Offset(1), usize::MAX).unwrap();
        batches.iter().flat_map(|batch| batch.records().collect::<Vec<_>>()).collect()
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Append(batch) => self.append(batch),
                Output::Load(request) => self.loads.push_back(request),
                Output::Confirm(token) => self.confirms.push_back(token),
                Output::Answer(caller, answer) => {
                    let durable = self.log.last_offset(SHARD).unwrap();
                    self.answers.push((caller, answer, durable));
                }
                Output::SaveSnapshot(address, snapshot) => {
                    let durable = self.log.last_offset(SHARD).unwrap();
                    assert!(snapshot.offset <= durable, "a snapshot left before it was durable");
                    self.snapshots.push(snapshot.sequence.get());
                    self.log.save_snapshot(SHARD, &address, snapshot, 2).unwrap();
                }
                Output::React(batch) => self.reacting.push(batch),
                Output::Failure(fact) => {
                    self.failures.push(*fact);
                    self.answered_before.push(self.answers.len());
                }
                Output::Drained => self.drained = true,
            }
        }
    }

    fn append(&mut self, batch: Batch) {
        self.trace.push(batch.bytes().clone());
        self.appends.push_back(self.log.append(batch));
    }
}

fn open(log: &MemoryLog, limits: &Limits, term: Term) -> ShardEngine<Caller> {
    let opened = log.open(SHARD, term).now_or_never().unwrap().unwrap();
    ShardEngine::new(EngineOptions {
        shard: SHARD,
        term,
        last: opened.last,
        node: NodeId(1),
        registry: with_brittle(registry()),
        limits: limits.clone(),
        anticipated_turns: 0,
        entropy_seed: 42,
    })
}

fn read(log: &MemoryLog, request: &LoadRequest) -> Result<Loaded, ReadError> {
    let address = &request.address;
    Ok(match request.wanted {
        Wanted::Start { snapshots, page } => {
            let snapshot = match snapshots {
                UsableSnapshots::None => None,
                UsableSnapshots::All => {
                    log.load_snapshot(SHARD, address, SnapshotCriteria::default())?
                }
                UsableSnapshots::UpTo(sequence) => {
                    let max_sequence = Some(sequence);
                    let criteria = SnapshotCriteria { max_sequence, ..Default::default() };
                    log.load_snapshot(SHARD, address, criteria)?
                }
            };
            let after = snapshot.as_ref().map_or(Offset::ZERO, |snapshot| snapshot.offset);
            let history = log.records_after(SHARD, address, after, page)?;
            let newest = match history.more {
                true => record_at(log, history.head),
                false => None,
            };
            Loaded::Start { snapshot, history, newest }
        }
        Wanted::More { after, page } => {
            Loaded::More(log.records_after(SHARD, address, after, page)?)
        }
        Wanted::Record { offset } => Loaded::Record(record_at(log, offset)),
        Wanted::EarlierTry { correlation, key, since, .. } => {
            let batches = log.read(SHARD, since.max(Offset(1)), usize::MAX)?;
            let mut records = batches.iter().flat_map(|batch| batch.records());
            Loaded::Record(records.find_map(|stored| {
                let record = stored.decode().unwrap();
                let of_conversation = record.correlation == correlation;
                let found = of_conversation
                    && record.key.digest() == key
                    && record.entity_id == address.id();
                found.then(|| stored.detach())
            }))
        }
    })
}

fn record_at(log: &MemoryLog, offset: Offset) -> Option<StoredRecord> {
    let batches = log.read(SHARD, offset, 1).unwrap();
    batches.iter().find_map(|batch| batch.record(offset))
}

/// The number that an accepted answer holds.
pub(crate) fn number(answer: &Result<Answer, AskError>) -> u64 {
    match answer.as_ref().map(|answer| &answer.verdict) {
        Ok(Verdict::Accepted(bytes)) => decode(bytes).unwrap(),
        other => panic!("no accepted answer: {other:?}"),
    }
}
