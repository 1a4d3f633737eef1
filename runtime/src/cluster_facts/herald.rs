//! The herald of a node: takes facts of the cluster over without ever waiting, and stores them in their order.
//!
//! They wait in a bounded queue. What does not fit is counted, and the count becomes a fact once there is room. One group of them is stored at a time, under one
//! key however often that is tried, so each stands in the log once and behind those before it. A node that stops in order waits a moment for what
//! is not stored yet; what waits when the process dies is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{
    Clock, CommandEnvelope, CommandId, EntityAddress, ErrorKind, IdempotencyKey, SeededEntropy,
    Timestamp,
};
use holm_persistence::encode;
use tokio::sync::Notify;

use super::{ClusterEvent, ClusterFacts, Proclaim};
use crate::ask::Asker;
use crate::entity::{Command, Entity};

/// Facts that may wait: each of 4,096 shards moves once.
const MOST_WAITING: usize = 4_096;

/// Facts that are stored at a time.
const AT_ONCE: usize = 256;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// The wait after a failed try; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where the node puts what happens to its cluster.
pub(crate) struct Herald {
    queue: Mutex<Queue>,
    told: Notify,
    /// Nothing waits any more.
    idle: Notify,
    clock: Arc<dyn Clock>,
}

struct Queue {
    events: VecDeque<ClusterEvent>,
    missed: u64,
    storing: bool,
    closed: bool,
    names: SeededEntropy,
}

impl Herald {
    pub(crate) fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let (events, names) = (VecDeque::new(), SeededEntropy::new(seed));
        let queue = Queue { events, missed: 0, storing: false, closed: false, names };
        Self { queue: Mutex::new(queue), told: Notify::new(), idle: Notify::new(), clock }
    }

    /// Takes a fact over. Never waits.
    pub(crate) fn offer(&self, event: ClusterEvent) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        // What was missed stands where it was missed, so nothing goes past it.
        if queue.missed > 0 || queue.events.len() >= MOST_WAITING {
            queue.missed += 1;
            return;
        }
        queue.events.push_back(event);
        drop(queue);
        self.told.notify_one();
    }

    /// No more facts are taken, and proclaiming ends.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.storing = false;
        queue.events.clear();
        drop(queue);
        self.idle.notify_waiters();
        self.told.notify_waiters();
        self.told.notify_one();
    }

    /// The next facts, and the id of the command that stores them; none when it is closed.
    fn take(&self) -> Option<(CommandId, Vec<ClusterEvent>)> {
        let mut queue = self.lock();
        if queue.closed {
            return None;
        }
        let now = self.clock.now();
        let some = queue.events.len().min(AT_ONCE);
        let mut events: Vec<_> = queue.events.drain(..some).collect();
        if queue.events.is_empty() && queue.missed > 0 {
            let count = std::mem::take(&mut queue.missed);
            events.push(ClusterEvent::FactsMissed { count, at: now });
        }
        queue.storing = !events.is_empty();
        Some((CommandId::generate(now, &mut queue.names), events))
    }

    /// Waits until every fact is stored, or it is closed.
    pub(crate) async fn stored(&self) {
        loop {
            // Made before the look, so that no word is missed between the two.
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    fn is_idle(&self) -> bool {
        let queue = self.lock();
        !queue.storing && queue.events.is_empty()
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what comes, until the herald is closed.
pub(crate) async fn proclaim(herald: Arc<Herald>, asker: Arc<dyn Asker>) {
    loop {
        let told = herald.told.notified();
        match herald.take() {
            None => return,
            Some((_, events)) if events.is_empty() => told.await,
            Some((id, events)) => {
                store(&herald, &*asker, id, events).await;
                herald.lock().storing = false;
                herald.idle.notify_waiters();
            }
        }
    }
}

/// Tries until the facts are stored, or surely never will be.
async fn store(herald: &Herald, asker: &dyn Asker, id: CommandId, events: Vec<ClusterEvent>) {
    let (count, proclaim) = (events.len(), Proclaim { events });
    let mut wait = FIRST_WAIT;
    loop {
        let Some(envelope) = envelope(id, &proclaim, herald.clock.now()) else { return };
        match tokio::time::timeout(TRY, asker.ask(envelope)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::FixRequest | ErrorKind::GiveUp) => {
                return tracing::error!(count, %error, "facts of the cluster could not be stored");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        if herald.is_closed() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The same but for the deadline, however often it is made.
fn envelope(id: CommandId, proclaim: &Proclaim, now: Timestamp) -> Option<CommandEnvelope> {
    let payload = encode(proclaim)
        .inspect_err(|error| tracing::error!(%error, "facts of the cluster cannot be encoded"))
        .ok()?;
    Some(CommandEnvelope {
        address: EntityAddress::new(ClusterFacts::TYPE, ClusterFacts::ID).ok()?,
        command: Proclaim::NAME.into(),
        payload,
        key: IdempotencyKey::new(&format!("cluster-{id}")).ok()?,
        id,
        correlation: id.opens(),
        causation: id.causes(),
        deadline: now.plus(TRY),
    })
}

#[cfg(test)]
mod tests {
    use holm_core::{ManualClock, ShardId};

    use super::*;

    fn regained(shard: u32) -> ClusterEvent {
        ClusterEvent::QuorumRegained { shard: ShardId(shard), at: Timestamp::EPOCH }
    }

    /// Promise G9: facts that cannot be stored wait up to a limit; what is missed is counted where it is missed, and what comes later stands behind it.
    #[test]
    fn what_waits_is_bounded_and_what_is_missed_is_counted() {
        let herald = Herald::new(Arc::new(ManualClock::new(Timestamp::EPOCH)), 1);
        let most = u32::try_from(MOST_WAITING).unwrap();
        (0..most + 3).map(regained).for_each(|event| herald.offer(event));
        let mut stored = Vec::new();
        loop {
            let (_, events) = herald.take().unwrap();
            if events.is_empty() {
                break;
            }
            assert!(events.len() <= AT_ONCE + 1);
            stored.extend(events);
        }
        assert_eq!(stored.len(), MOST_WAITING + 1);
        let at = Timestamp::EPOCH;
        assert_eq!(stored.last(), Some(&ClusterEvent::FactsMissed { count: 3, at }));
        herald.offer(regained(7));
        assert_eq!(herald.take().unwrap().1, [regained(7)]);
        herald.close();
        herald.offer(regained(8));
        assert_eq!(herald.take(), None);
    }
}
