//! An order over many entities: how many at once, and which one after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holm_core::{
    FailureId, NodeId, Offset, SeededEntropy, SequenceNumber, ShardId, SystemClock, Timestamp,
};
use tokio::sync::Barrier;

use super::*;
use crate::ask::{Asker, Asking};
use crate::entity_ref::Caller;
use crate::failure::{FailureFact, FailureKind};
use crate::failures::books::Books;

/// Entities that are let go on together, as many at a time as an order acts on, or never.
struct Together {
    barrier: Arc<Barrier>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    now: BTreeMap<EntityAddress, usize>,
    most: usize,
    most_of_one: usize,
}

impl Asker for Together {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let (barrier, waiting) = (Arc::clone(&self.barrier), Arc::clone(&self.waiting));
        let answer = async move {
            if envelope.command != RELEASE {
                return Ok(accepted(&true));
            }
            {
                let mut waiting = waiting.lock().unwrap();
                *waiting.now.entry(envelope.address.clone()).or_default() += 1;
                let (all, of_one) = (waiting.now.values().sum(), waiting.now[&envelope.address]);
                waiting.most = waiting.most.max(all);
                waiting.most_of_one = waiting.most_of_one.max(of_one);
            }
            let met = tokio::time::timeout(Duration::from_secs(20), barrier.wait()).await;
            met.expect("as many as are acted on at once meet here");
            *waiting.lock().unwrap().now.get_mut(&envelope.address).unwrap() -= 1;
            Ok(accepted(&Released::Lifted))
        };
        let answer: holm_persistence::Pending<_> = Box::pin(answer);
        answer.into()
    }
}

fn accepted<T: serde::Serialize>(reply: &T) -> Answer {
    Answer {
        verdict: Verdict::Accepted(encode(reply).unwrap()),
        sequence: SequenceNumber(0),
        shard: ShardId(0),
        offset: Offset(0),
        replayed: false,
        served_by: NodeId(0),
    }
}

/// A row of the log, as its books make it.
fn row(entity: u128, kind: FailureKind) -> FailureRow {
    let subject = Subject::Entity(format!("account/a{entity:02}").parse().unwrap());
    let mut fact = FailureFact::new(FailureId(entity), kind, subject, Timestamp::EPOCH);
    fact.standing = Standing::Quarantined;
    let mut books = Books::default();
    books.failed(fact);
    books.rows().next().unwrap().1.clone()
}

/// Promise G9: an order acts on sixteen entities at once, neither one after the other nor all together, and on the failures of one in their order.
#[tokio::test]
async fn an_order_acts_on_some_at_once_and_on_each_in_turn() {
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let asker = Together { barrier: Arc::new(Barrier::new(AT_ONCE)), waiting: waiting.clone() };
    let (clock, patience) = (Arc::new(SystemClock), Duration::from_secs(60));
    let caller = Caller::new(Arc::new(asker), clock, patience, SeededEntropy::new(1));
    let kinds = [FailureKind::RecoveryFailed, FailureKind::Panicked];
    let rows: Vec<_> = (0..32).flat_map(|entity| kinds.map(|kind| row(entity, kind))).collect();

    let acting = Failures::new(caller).act(rows.clone(), Settlement::Resumed);
    let mut handled: Vec<_> = acting.collect().await;
    assert!(handled.iter().all(|handled| handled.outcome == HandledOutcome::Done));
    {
        let waiting = waiting.lock().unwrap();
        assert_eq!((waiting.most, waiting.most_of_one), (AT_ONCE, 1));
    }
    // Stable: what is told of one entity keeps its order.
    handled.sort_by_key(|handled| handled.row.failure);
    assert!(handled.iter().map(|handled| &handled.row).eq(&rows));
}
