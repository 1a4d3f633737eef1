//! The reporter of a node: takes facts from the shards without ever holding one up, and stores them.
//!
//! Each part of the log has a lane of its own, so that one that cannot be reached holds up no facts but its own. The lanes share one bounded room. When it is
//! full the newest fact of the longest lane has to go, and is counted; the count is itself a fact. A fact is stored under a key that follows from its id, so
//! however often it is tried it is stored once. A node that stops in order waits a moment for what is not stored yet; what waits when the process dies is lost; a
//! quarantine is not, because it does not depend on its fact.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use holm_core::{
    AskError, Clock, CommandEnvelope, CommandId, CorrelationId, EntityAddress, ErrorKind,
    FailureId, IdempotencyKey, NodeId, SeededEntropy, Timestamp,
};
use holm_persistence::encode;
use tokio::sync::Notify;

use super::log::{FailureLog, PARTS, Report, part_number, part_of};
use crate::ask::Asker;
use crate::entity::{Command, Entity};
use crate::entity_ref::Caller;
use crate::failure::{Causes, FailureFact, FailureKind, Subject};

/// Facts of one part that are stored at the same time: enough to fill a batch.
const AT_ONCE: usize = 16;

/// How often it is told at most that facts were lost: a part that stays away must not fill the others with that.
const LOSSES_EVERY: Duration = Duration::from_secs(1);

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// The wait after a failed try; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where the shards and the node put what failed.
pub(crate) struct Outlet {
    queue: Mutex<Queue>,
    told: [Notify; PARTS],
    lost: Notify,
    /// Nothing waits any more.
    idle: Notify,
    most: usize,
    node: NodeId,
    clock: Arc<dyn Clock>,
}

struct Queue {
    lanes: [VecDeque<FailureFact>; PARTS],
    /// Facts that did not fit since the last that said so.
    lost: u64,
    /// Facts that are being stored.
    under_way: usize,
    closed: bool,
    names: SeededEntropy,
}

impl Queue {
    fn waiting(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Puts a fact into its lane. Gives how many did not fit: it, or what had to go for it.
    fn put(&mut self, lane: usize, fact: FailureFact, most: usize) -> u64 {
        let mut dropped = 0;
        if self.waiting() >= most {
            // So one part that cannot be reached may fill all the room, and leaves its share to each other one that needs it.
            let own = self.lanes[lane].len();
            match self.lanes.iter_mut().max_by_key(|it| it.len()).filter(|it| it.len() > own) {
                Some(longest) => dropped = longest.pop_back().map_or(0, |fact| fact.count),
                None => return fact.count,
            }
        }
        self.lanes[lane].push_back(fact);
        dropped
    }
}

impl Outlet {
    pub(crate) fn new(most: usize, node: NodeId, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let (lanes, names) = (Default::default(), SeededEntropy::new(seed));
        let queue = Queue { lanes, lost: 0, under_way: 0, closed: false, names };
        let (queue, told, most) = (Mutex::new(queue), Default::default(), most.max(1));
        Self { queue, told, lost: Notify::new(), idle: Notify::new(), most, node, clock }
    }

    /// Takes a fact over. Never waits.
    pub(crate) fn offer(&self, fact: FailureFact) {
        // What fails while failures are stored must not make work for itself.
        if fact.address().is_some_and(|address| address.entity_type() == FailureLog::TYPE) {
            return;
        }
        let lane = part_number(&fact.subject);
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        let lost = queue.put(lane, fact, self.most);
        queue.lost += lost;
        drop(queue);
        self.told[lane].notify_one();
        if lost > 0 {
            self.lost.notify_one();
        }
    }

    /// A name for a fact that no shard gave one.
    pub(crate) fn name(&self) -> (FailureId, Timestamp) {
        let now = self.clock.now();
        (FailureId::generate(now, &mut self.lock().names), now)
    }

    /// A fact about something that is no entity.
    pub(crate) fn fact(
        &self,
        kind: FailureKind,
        subject: Subject,
        causes: impl Into<Causes>,
    ) -> FailureFact {
        let (id, now) = self.name();
        let shard = match &subject {
            Subject::Shard(shard) => Some(*shard),
            _ => None,
        };
        let fact = FailureFact::new(id, kind, subject, now).because_of(&causes.into());
        FailureFact { node: self.node, shard, ..fact }
    }

    /// No more facts are taken, and the reporter ends.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.lanes.iter_mut().for_each(VecDeque::clear);
        drop(queue);
        self.idle.notify_waiters();
        self.told.iter().chain([&self.lost]).for_each(Notify::notify_one);
    }

    /// Whether it takes no more facts.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many facts are not stored yet, with the one that says how many were lost.
    pub(crate) fn waiting(&self) -> usize {
        let queue = self.lock();
        let waiting = queue.waiting() + queue.under_way + usize::from(queue.lost > 0);
        if queue.closed { 0 } else { waiting }
    }

    /// Waits until every fact is stored, or it is closed.
    pub(crate) async fn stored(&self) {
        loop {
            // Made before the look, so that no word is missed between the two.
            let idle = self.idle.notified();
            if self.waiting() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// The next facts of a part; none when it is closed.
    fn take(&self, lane: usize) -> Option<Vec<FailureFact>> {
        let mut queue = self.lock();
        if queue.closed {
            return None;
        }
        let lane = &mut queue.lanes[lane];
        let facts: Vec<_> = lane.drain(..lane.len().min(AT_ONCE)).collect();
        queue.under_way += facts.len();
        Some(facts)
    }

    /// The fact that some did not fit, where it is so; none when it is closed.
    fn take_losses(&self) -> Option<Option<FailureFact>> {
        let mut queue = self.lock();
        if queue.closed {
            return None;
        }
        if queue.lost == 0 {
            return Some(None);
        }
        queue.under_way += 1;
        let (count, now) = (std::mem::take(&mut queue.lost), self.clock.now());
        let id = FailureId::generate(now, &mut queue.names);
        let fact = FailureFact::new(id, FailureKind::FactsLost, Subject::Node(self.node), now)
            .because("more failed than could wait to be stored (limit failures_waiting)");
        Some(Some(FailureFact { node: self.node, count, ..fact }))
    }

    fn stored_some(&self, count: usize) {
        self.lock().under_way -= count;
        self.idle.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what comes out of the outlet, until that is closed.
pub(crate) async fn report(outlet: Arc<Outlet>, asker: Arc<dyn Asker>) {
    let lanes = join_all((0..PARTS).map(|lane| report_part(&outlet, &*asker, lane)));
    tokio::join!(lanes, report_losses(&outlet, &*asker));
}

async fn report_part(outlet: &Outlet, asker: &dyn Asker, lane: usize) {
    while let Some(facts) = outlet.take(lane) {
        if facts.is_empty() {
            outlet.told[lane].notified().await;
            continue;
        }
        let count = facts.len();
        let is_gone = || outlet.is_closed();
        join_all(facts.into_iter().map(|fact| store(asker, &*outlet.clock, fact, is_gone))).await;
        outlet.stored_some(count);
    }
}

async fn report_losses(outlet: &Outlet, asker: &dyn Asker) {
    while let Some(losses) = outlet.take_losses() {
        let Some(fact) = losses else {
            outlet.lost.notified().await;
            continue;
        };
        store(asker, &*outlet.clock, fact, || outlet.is_closed()).await;
        outlet.stored_some(1);
        tokio::time::sleep(LOSSES_EVERY).await;
    }
}

/// Stores one fact of whoever is no part of a host: tries until it is stored, or surely never will be, or until `is_gone`.
pub(crate) async fn tell(caller: &Caller, fact: FailureFact, is_gone: impl Fn() -> bool) {
    store(&**caller.asker(), &**caller.clock(), fact, is_gone).await;
}

async fn store(
    asker: &dyn Asker,
    clock: &dyn Clock,
    fact: FailureFact,
    is_gone: impl Fn() -> bool,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let Some(envelope) = envelope(&fact, clock.now()) else { return };
        let answer = tokio::time::timeout(TRY, asker.ask(envelope)).await;
        match answer {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if is_hopeless(&error) => {
                let (id, subject, kind) = (fact.id, &fact.subject, fact.kind.name());
                return tracing::error!(%id, %subject, kind, %error, "a failure could not be stored");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        if is_gone() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn is_hopeless(error: &AskError) -> bool {
    // What cannot be read now may be read later; a history that nobody can make sense of ends in quarantine, and there it is hopeless.
    let may_pass = matches!(error, AskError::RecoveryFailed { .. });
    !may_pass && matches!(error.kind(), ErrorKind::FixRequest | ErrorKind::GiveUp)
}

/// The same but for the deadline, however often it is made.
fn envelope(fact: &FailureFact, now: Timestamp) -> Option<CommandEnvelope> {
    let payload = encode(&Report { fact: fact.clone() })
        .inspect_err(|error| tracing::error!(%error, "a failure cannot be encoded"))
        .ok()?;
    let id = CommandId(fact.id.0);
    let correlation = fact.command.as_ref().map(|command| command.correlation);
    let causation = fact.command.as_ref().map(|command| command.id.causes());
    Some(CommandEnvelope {
        address: EntityAddress::new(FailureLog::TYPE, part_of(&fact.subject)).ok()?,
        command: Report::NAME.into(),
        payload,
        key: IdempotencyKey::new(&format!("failure-{}", fact.id)).ok()?,
        id,
        correlation: correlation.unwrap_or(CorrelationId(id.0)),
        causation: causation.unwrap_or_else(|| id.causes()),
        deadline: now.plus(TRY),
    })
}

#[cfg(test)]
#[path = "reporter/tests.rs"]
mod tests;
