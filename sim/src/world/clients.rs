//! The clients of a run: each asks registers one thing after the other through one door after the other, retries with the same key, and writes down
//! what it asked and was told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, CommandId, EntityAddress, Entropy as _, IdempotencyKey, Outcome,
    SeededEntropy, Timestamp, Verdict,
};
use holm_persistence::{decode, encode};
use holm_runtime::{Command, Entity as _};

use super::callers::{Caller, Refusal};
use super::trace::Trace;
use crate::history::{Call, Content, History, Moment, OperationId, Told};
use crate::register::{
    Burst, Fill, Look, Poison, PoisonAt, Register, RegisterRejection, Shout, Swap, Write,
    WriteAndRest,
};

/// Tries of one intention before the client lets it be.
const TRIES: u32 = 8;

/// What all clients share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) history: Rc<RefCell<History>>,
    pub(super) trace: Trace,
    pub(super) entities: Rc<[EntityAddress]>,
}

/// The registers of a run.
pub(super) fn registers(count: u32) -> Rc<[EntityAddress]> {
    (0..count)
        .map(|number| {
            EntityAddress::new(Register::TYPE, format!("r{number}")).expect("a valid address")
        })
        .collect()
}

/// One client.
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) caller: Caller,
    pub(super) desk: Desk,
    pub(super) entropy: SeededEntropy,
    /// Values that this client has written so far.
    pub(super) written: u64,
    /// What it last saw of each register.
    pub(super) seen: BTreeMap<usize, u64>,
}

/// What is asked, encoded.
struct Question {
    command: &'static str,
    payload: Bytes,
    reads: bool,
}

impl Question {
    fn new<C: Command>(command: &C, reads: bool) -> Self {
        let payload = encode(command).expect("a command of the workload can be encoded");
        Self { command: C::NAME, payload, reads }
    }
}

impl Client {
    /// Asks until the time is up. Resolves when the last answer is there, or given up.
    pub(super) async fn work(mut self, until: Duration) {
        while self.caller.now() < until {
            let pause = 1 + self.entropy.below(40);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let entity = self.draw(self.desk.entities.len());
            let question = self.question(entity);
            if self.intend(entity, question, until).await.is_none() {
                return;
            }
        }
    }

    fn draw(&mut self, below: usize) -> usize {
        usize::try_from(self.entropy.below(below.max(1) as u64)).unwrap_or_default()
    }

    /// A value that nobody else writes.
    fn value(&mut self) -> u64 {
        self.written += 1;
        (u64::from(self.number) << 32) | self.written
    }

    fn question(&mut self, entity: usize) -> Question {
        match self.entropy.below(100) {
            0..35 => Question::new(&Write { value: self.value() }, false),
            35..50 => {
                let expected = self.seen.get(&entity).copied().unwrap_or_default();
                Question::new(&Swap { expected, value: self.value() }, false)
            }
            50..56 => {
                let count = u8::try_from(self.entropy.below(5)).unwrap_or(0);
                let first = self.value();
                self.written += u64::from(count);
                Question::new(&Burst { first, count }, false)
            }
            56..88 => Question::new(&Look {}, true),
            88..92 => Question::new(&WriteAndRest { value: self.value() }, false),
            92..95 => {
                let length = self.draw(60_000);
                Question::new(&Fill { bytes: vec![7; length] }, false)
            }
            95..98 => {
                let reply_bytes = u32::try_from(self.entropy.below(80_000)).unwrap_or(0);
                Question::new(&Shout { value: self.value(), reply_bytes }, false)
            }
            _ => {
                let at = match self.entropy.below(3) {
                    0 => PoisonAt::Handle,
                    1 => PoisonAt::Apply,
                    _ => PoisonAt::Reply,
                };
                Question::new(&Poison { at }, false)
            }
        }
    }

    /// One intention: tries until it is answered. None when the history is full.
    async fn intend(&mut self, entity: usize, question: Question, until: Duration) -> Option<()> {
        let key = IdempotencyKey::generate(&mut self.entropy);
        let id = CommandId::generate(Timestamp::default(), &mut self.entropy);
        let address = self.desk.entities[entity].clone();
        let mut door = self.draw(self.caller.doors());
        for _ in 0..TRIES {
            let patience = Duration::from_millis(200 + self.entropy.below(4_000));
            let envelope = CommandEnvelope {
                address: address.clone(),
                command: question.command.into(),
                payload: question.payload.clone(),
                key: key.clone(),
                id,
                correlation: id.opens(),
                causation: id.causes(),
                deadline: Timestamp::default(),
            };
            let operation = self.begin(door, &envelope, question.reads, patience)?;
            let told = self.tell(door, envelope, patience).await;
            self.complete(operation, &address, &told);
            self.learn(entity, question.command, &told);
            let again = match &told {
                Told::Accepted { .. } | Told::Rejected { .. } | Told::Open => false,
                Told::Failed { error, .. } => !error.contains("failed:"),
            };
            if !again || self.caller.now() >= until {
                return Some(());
            }
            let pause = 5 + self.entropy.below(300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            door = self.draw(self.caller.doors());
        }
        Some(())
    }

    fn begin(
        &self,
        door: usize,
        envelope: &CommandEnvelope,
        reads: bool,
        patience: Duration,
    ) -> Option<OperationId> {
        let now = self.caller.now();
        let call = Call {
            client: self.number,
            asked: self.caller.node_at(door),
            entity: envelope.address.clone(),
            command: envelope.command.clone(),
            reads,
            key: envelope.key.clone(),
            fingerprint: Some(Call::fingerprint_of(&envelope.command, &envelope.payload)),
            payload: Content::of(&envelope.payload),
            invoked: moment(now),
            deadline: moment(now + patience),
        };
        let begun = self.desk.history.borrow_mut().begin(call);
        let operation = begun
            .inspect_err(|full| self.desk.trace.note(format_args!("c{}: {full}", self.number)))
            .ok()?;
        self.desk.trace.note(format_args!(
            "c{} #{} {} → {} at n{} [{}]",
            self.number,
            operation.0,
            envelope.command,
            envelope.address,
            door + 1,
            envelope.key
        ));
        Some(operation)
    }

    async fn tell(&self, door: usize, envelope: CommandEnvelope, patience: Duration) -> Told {
        match self.caller.ask(door, envelope, patience).await {
            Ok(answer) => Told::of(&answer),
            Err(refusal) => {
                let effect = match refusal {
                    Refusal::NobodyThere => Outcome::NotApplied,
                    Refusal::NoAnswer => Outcome::Unknown,
                };
                Told::Failed { effect, limit: None, error: refusal.to_string().into() }
            }
        }
    }

    fn complete(&self, operation: OperationId, address: &EntityAddress, told: &Told) {
        let now = moment(self.caller.now());
        self.desk.history.borrow_mut().complete(operation, now, told.clone());
        let said = match told {
            Told::Open => "open".to_owned(),
            Told::Accepted { reply, place } => {
                format!("accepted {:016x} at {}", reply.digest, shown(place))
            }
            Told::Rejected { place, .. } => format!("rejected at {}", shown(place)),
            Told::Failed { effect, error, .. } => format!("{effect:?}: {error}"),
        };
        self.desk.trace.note(format_args!("c{} #{} {address}: {said}", self.number, operation.0));
    }

    /// Remembers a register's value, for the next swap.
    fn learn(&mut self, entity: usize, command: &str, told: &Told) {
        match told {
            Told::Accepted { reply, .. } if command == Look::NAME => {
                if let Some(Ok(value)) = reply.bytes().map(decode::<u64>) {
                    self.seen.insert(entity, value);
                }
            }
            Told::Rejected { rejection, .. } => {
                let rejection = rejection.bytes().map(decode::<RegisterRejection>);
                if let Some(Ok(RegisterRejection::Mismatch { found, .. })) = rejection {
                    self.seen.insert(entity, found);
                }
            }
            _ => {}
        }
    }
}

fn shown(place: &crate::history::Place) -> String {
    let replayed = if place.replayed { ", replayed" } else { "" };
    format!(
        "sequence {} (shard {}, offset {}, node {}{replayed})",
        place.sequence, place.shard, place.offset, place.served_by
    )
}

pub(super) fn moment(time: Duration) -> Moment {
    Moment(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Asks every register through one door until each has answered.
pub(super) async fn probe(
    caller: Caller,
    door: usize,
    desk: Desk,
    mut entropy: SeededEntropy,
) -> Duration {
    for address in desk.entities.iter() {
        loop {
            let id = CommandId::generate(Timestamp::default(), &mut entropy);
            let envelope = CommandEnvelope {
                address: address.clone(),
                command: Look::NAME.into(),
                payload: encode(&Look {}).expect("a look can be encoded"),
                key: IdempotencyKey::generate(&mut entropy),
                id,
                correlation: id.opens(),
                causation: id.causes(),
                deadline: Timestamp::default(),
            };
            let said = caller.ask(door, envelope, Duration::from_secs(2)).await;
            match said {
                Ok(Ok(answer)) if matches!(answer.verdict, Verdict::Accepted(_)) => break,
                Ok(Ok(_)) => desk.trace.note(format_args!("probe of {address}: refused")),
                Ok(Err(error)) => note(&desk, door, address, &error),
                Err(refusal) => {
                    desk.trace.note(format_args!("probe of {address} at n{}: {refusal}", door + 1));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    caller.now()
}

fn note(desk: &Desk, door: usize, address: &EntityAddress, error: &AskError) {
    desk.trace.note(format_args!("probe of {address} at n{}: {error}", door + 1));
}
