//! The clients of a run: each asks what the workload draws, retries with the same key through another door, and writes down what it asked and was told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use holm_core::{
    AskError, CommandEnvelope, CommandId, EntityAddress, Entropy as _, ErrorKind, Outcome,
    SeededEntropy, Timestamp,
};
use holm_runtime::Entity as _;

use super::callers::{Caller, Refusal};
use super::trace::Trace;
use crate::checks::contained::{is_in_quarantine, is_not_replayed};
use crate::history::{Call, Content, History, HistoryFull, Moment, OperationId, Place, Told};
use crate::relic::Relic;
use crate::workload::{Ask, Workload};

/// Most tries of one intention before the client lets it be. Each draws its own number: who gives up leaves an open outcome behind.
const MOST_TRIES: u64 = 8;

/// How long a client waits that only wants to know whether everything answers again.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// What all clients share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) history: Rc<RefCell<History>>,
    pub(super) workload: Rc<RefCell<Workload>>,
    pub(super) trace: Trace,
}

/// One client.
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) caller: Caller,
    pub(super) desk: Desk,
    pub(super) entropy: SeededEntropy,
}

/// What became of one try.
struct Tried {
    told: Told,
    /// Whether the same may be answered when it is asked again.
    again: bool,
}

impl Client {
    /// Asks until the time is up. Resolves when the last answer is there, or given up.
    pub(super) async fn work(mut self, until: Duration) {
        while self.caller.now() < until {
            let pause = 1 + self.entropy.below(40);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let ask = {
                let mut workload = self.desk.workload.borrow_mut();
                workload.grow(self.caller.doors());
                workload.draw()
            };
            if let Err(full) = self.intend(ask, until).await {
                self.desk.trace.note(format_args!("c{}: {full}", self.number));
                return;
            }
        }
    }

    /// One intention: tries until it is answered, or let be.
    async fn intend(&mut self, mut ask: Ask, until: Duration) -> Result<(), HistoryFull> {
        let mut left = self.entropy.below(MOST_TRIES);
        loop {
            // The ids are drawn before anything is awaited, so that the order of answers changes no draw.
            let ids: Vec<CommandId> = ask.through.iter().map(|_| self.draw_id()).collect();
            let ways = ask.through.iter().zip(ids);
            let tries = join_all(ways.map(|(door, id)| self.attempt(*door, &ask, id))).await;
            let tries = tries.into_iter().collect::<Result<Vec<Tried>, _>>()?;
            let again = tries.iter().all(|tried| tried.again);
            if !again || left == 0 || self.caller.now() >= until {
                let mut workload = self.desk.workload.borrow_mut();
                tries.iter().for_each(|tried| workload.told(&ask, &tried.told));
                return Ok(());
            }
            left -= 1;
            let pause = 5 + self.entropy.below(300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let door = self.entropy.below(self.caller.doors().max(1) as u64);
            ask.through = vec![usize::try_from(door).unwrap_or_default()];
        }
    }

    /// Asks for each entity through one door until it has answered. Resolves to the time when all have.
    pub(super) async fn probe(mut self, door: usize, entities: Vec<EntityAddress>) -> Duration {
        for entity in entities {
            loop {
                let mut ask = self.desk.workload.borrow_mut().look_at(&entity);
                ask.patience = PROBE_PATIENCE;
                let id = self.draw_id();
                let answered = match self.attempt(door, &ask, id).await {
                    Ok(tried) => {
                        tried.told.place().is_some() || is_beyond_help(&entity, &tried.told)
                    }
                    // What cannot be recorded cannot be judged; that it does not answer is seen all the same.
                    Err(_) => false,
                };
                if answered {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.caller.now()
    }

    fn draw_id(&mut self) -> CommandId {
        CommandId::generate(Timestamp::default(), &mut self.entropy)
    }

    /// One try through one door.
    async fn attempt(&self, door: usize, ask: &Ask, id: CommandId) -> Result<Tried, HistoryFull> {
        let envelope = CommandEnvelope {
            address: ask.entity.clone(),
            command: ask.command.into(),
            payload: ask.payload.clone(),
            key: ask.key.clone(),
            id,
            correlation: id.opens(),
            causation: id.causes(),
            deadline: Timestamp::default(),
        };
        let operation = self.begin(door, ask)?;
        let tried = match self.caller.ask(door, envelope, ask.patience).await {
            Ok(answer) => Tried {
                told: Told::of(&answer),
                again: answer.as_ref().is_err_and(may_be_asked_again),
            },
            Err(refusal) => {
                let effect = match refusal {
                    Refusal::NobodyThere => Outcome::NotApplied,
                    Refusal::NoAnswer => Outcome::Unknown,
                };
                let error = refusal.to_string().into();
                Tried { told: Told::Failed { effect, limit: None, error }, again: true }
            }
        };
        self.complete(operation, &ask.entity, &tried.told);
        Ok(tried)
    }

    fn begin(&self, door: usize, ask: &Ask) -> Result<OperationId, HistoryFull> {
        let now = self.caller.now();
        let call = Call {
            client: self.number,
            asked: self.caller.node_at(door),
            entity: ask.entity.clone(),
            command: ask.command.into(),
            reads: ask.reads,
            key: ask.key.clone(),
            fingerprint: Some(Call::fingerprint_of(ask.command, &ask.payload)),
            payload: Content::of(&ask.payload),
            invoked: moment(now),
            deadline: moment(now + ask.patience),
        };
        let operation = self.desk.history.borrow_mut().begin(call)?;
        self.desk.trace.note(format_args!(
            "c{} #{} {} ({}) → {} at n{} [{}]",
            self.number,
            operation.0,
            ask.command,
            ask.kind,
            ask.entity,
            door + 1,
            ask.key
        ));
        Ok(operation)
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
}

/// A relic that cannot be brought back says so, and more is not to be had. Whether it says the truth is for the judgement.
fn is_beyond_help(entity: &EntityAddress, told: &Told) -> bool {
    entity.entity_type() == Relic::TYPE && (is_not_replayed(told) || is_in_quarantine(told))
}

fn may_be_asked_again(error: &AskError) -> bool {
    matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff)
}

fn shown(place: &Place) -> String {
    let replayed = if place.replayed { ", replayed" } else { "" };
    format!(
        "sequence {} (shard {}, offset {}, node {}{replayed})",
        place.sequence, place.shard, place.offset, place.served_by
    )
}

/// A time of the world as a moment of its history.
pub(super) fn moment(time: Duration) -> Moment {
    Moment(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
