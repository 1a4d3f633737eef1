//! Handlers that are any async function: at least once, shared by those who run it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_core::Offset;
use holm_projections::{OnFailure, Options, OrderError, ProjectionHandle, Shared, State};
use holm_runtime::bus::{Fact, Interest, Position, Start};
use holm_runtime::{FailureKind, Subject};

use super::node::{Account, Node, PATIENCE, paid, place};
use super::tally::{PANICS, REFUSED};

type Place = (u32, u64, u32);

/// Another system, as far as a handler knows it.
#[derive(Default, Clone)]
struct Elsewhere {
    heard: Arc<Mutex<Vec<(&'static str, Place)>>>,
    /// Refuses [`REFUSED`] so many times.
    refuses: Arc<AtomicU32>,
}

impl Elsewhere {
    fn refusing(times: u32) -> Self {
        Self { refuses: Arc::new(times.into()), ..Self::default() }
    }

    fn start(&self, node: &Node, who: &'static str, on_failure: OnFailure) -> ProjectionHandle {
        let (handle, work) = self.assemble(node, who, on_failure);
        tokio::spawn(work);
        handle
    }

    fn assemble(
        &self,
        node: &Node,
        who: &'static str,
        on_failure: OnFailure,
    ) -> (ProjectionHandle, impl Future<Output = ()> + Send + 'static) {
        let me = self.clone();
        let options = Options { clock: node.clock.clone(), ..Options::on_failure(on_failure) };
        let shared = Shared::new("elsewhere", Interest::of::<Account>().event("Paid"));
        shared.options(options).assemble(node.bus(), move |record: Arc<[Fact]>| {
            let me = me.clone();
            async move {
                tokio::task::yield_now().await;
                for fact in record.iter() {
                    assert!(paid(fact) != PANICS, "the number of the beast");
                    let less = |left: u32| left.checked_sub(1);
                    let order = Ordering::SeqCst;
                    if paid(fact) == REFUSED && me.refuses.fetch_update(order, order, less).is_ok()
                    {
                        return Err("thirteen is refused");
                    }
                    me.heard.lock().unwrap().push((who, place(fact)));
                }
                Ok(())
            }
        })
    }

    fn heard(&self) -> Vec<Place> {
        self.heard.lock().unwrap().iter().map(|(_, place)| *place).collect()
    }

    /// Waits until so many different facts were heard.
    async fn until(&self, number: usize) {
        let heard = async {
            while self.heard().into_iter().collect::<BTreeSet<_>>().len() < number {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
    }
}

async fn stored(node: &Node) -> Vec<Place> {
    let facts = node.facts().await.into_values().flatten();
    facts.filter(|fact| fact.name() == "Paid").map(|fact| place(&fact)).collect()
}

/// Promise G8, law La4: what was there and what comes is handled, that of a shard in order; a new life goes on where the position was stored.
#[tokio::test]
async fn everything_is_handled_in_order() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::default());
    node.payments(10, 1).await;
    let handle = elsewhere.start(&node, "a", OnFailure::fail());
    node.payments(10, 2).await;
    node.pay("a1", 1, 3).await;
    elsewhere.until(23).await;
    handle.stop().await;
    assert_eq!((handle.status().state, handle.status().handled), (State::Stopped, 23));
    let mut heard = elsewhere.heard();
    // Stable: within a shard the order in which they came stays.
    heard.sort_by_key(|place| place.0);
    assert_eq!(heard, stored(&node).await);

    let handle = elsewhere.start(&node, "a", OnFailure::fail());
    node.payments(1, 3).await;
    elsewhere.until(24).await;
    assert_eq!(elsewhere.heard().len(), 24, "what was stored is not handled again");
    assert!(handle.is_shared());
    handle.stop().await;
    node.host.stop().await;
}

/// Law U5: each fact goes to one member, and the shards of one that dies go to the others.
#[tokio::test]
async fn members_share_the_shards_and_take_over() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::default());
    let (_, work) = elsewhere.assemble(&node, "a", OnFailure::fail());
    let first = tokio::spawn(work);
    let second = elsewhere.start(&node, "b", OnFailure::fail());
    let readers = || {
        let mut readers: BTreeMap<u32, &str> = BTreeMap::new();
        readers.extend(elsewhere.heard.lock().unwrap().iter().map(|(who, at)| (at.0, *who)));
        readers.into_values().collect::<Vec<_>>()
    };
    let mut payments = 0;
    let shared = async {
        while !(readers().contains(&"a") && readers().contains(&"b")) {
            node.payments(12, 1).await;
            payments += 12;
            elsewhere.until(payments).await;
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.unwrap();
    assert_eq!(elsewhere.heard().len(), payments, "each was handled by one of them");
    // As a process that is killed: it says nothing, and its lease must end.
    first.abort();
    node.clock.advance(Duration::from_secs(6));
    node.payments(12, 2).await;
    elsewhere.until(payments + 12).await;
    let takes_over = stored(&node).await.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(elsewhere.heard().into_iter().collect::<BTreeSet<_>>(), takes_over);
    second.stop().await;
    node.host.stop().await;
}

/// Law O2: retried, then parked, which is a fact of the log; handled later, and the rest goes on meanwhile.
#[tokio::test]
async fn a_record_is_retried_and_parked_and_handled_later() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::refusing(4));
    for amount in [1, REFUSED, 4] {
        node.pay("alice", amount, 1).await;
    }
    let policy = OnFailure::park().after_retries(2, Duration::from_millis(1));
    let handle = elsewhere.start(&node, "a", policy);
    elsewhere.until(2).await;
    handle.passed_all(&node.ends_of(&Interest::of::<Account>()).await, PATIENCE).await.unwrap();
    let parked = handle.set_aside().await.unwrap();
    assert_eq!((parked.len(), parked[0].parked, &*parked[0].entity), (1, true, "account/alice"));
    let failure = node.failures(1).await.remove(0);
    assert_eq!((failure.kind, failure.shard), (FailureKind::RecordParked, Some(parked[0].shard)));
    assert_eq!(failure.subject, Subject::Reader("projection elsewhere".into()));
    let of_the_group = Interest::everything().entity_type("holm-subscription").event("LeftOut");
    let mut facts = node.bus().subscribe(of_the_group, Start::Beginning).await.unwrap();
    tokio::time::timeout(PATIENCE, facts.next()).await.unwrap().unwrap();
    assert_eq!(handle.retry_parked().await, Ok((0, 1)), "it is refused a fourth time");
    assert_eq!(handle.retry_parked().await, Ok((1, 0)));
    assert_eq!(handle.retry_parked().await, Ok((0, 0)));
    assert_eq!((elsewhere.heard().len(), handle.set_aside().await.unwrap().len()), (3, 0));
    handle.stop().await;
    node.host.stop().await;
}

/// Laws O2 and O7, promise G7: it stops before a record, also of a handler that panics, and somebody says what becomes of it. A stop works while it waits.
#[tokio::test]
async fn it_stops_at_a_record_until_somebody_decides() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::refusing(1));
    for amount in [1, REFUSED, PANICS, 4] {
        node.pay("alice", amount, 1).await;
    }
    let handle = elsewhere.start(&node, "a", OnFailure::fail());
    let failed = |status: &holm_projections::Status| status.state == State::Failed;
    let status = handle.wait_until(failed, PATIENCE).await.unwrap();
    assert!(status.last_error.unwrap().ends_with("thirteen is refused"));
    assert_eq!(elsewhere.heard().len(), 1);
    // Resumed, it tries again, and goes on to the next.
    handle.resume().await.unwrap();
    let panicked = |status: &holm_projections::Status| {
        failed(status) && status.last_error.as_ref().is_some_and(|it| it.contains("panicked"))
    };
    handle.wait_until(panicked, PATIENCE).await.unwrap();
    let skipped = handle.skip_failed().await.unwrap();
    elsewhere.until(3).await;
    assert_eq!(handle.set_aside().await, Ok(vec![skipped.clone()]));
    assert!(!skipped.parked && skipped.reason.contains("panicked"));
    handle.skip_failed().await.unwrap_err();
    let mut kinds: Vec<_> = node.failures(3).await.iter().map(|it| it.kind).collect();
    kinds.sort_unstable();
    let stopped = FailureKind::ProjectionStopped;
    assert_eq!(kinds, [stopped, stopped, FailureKind::RecordSkipped]);

    elsewhere.refuses.store(1, Ordering::SeqCst);
    handle.stop().await;
    let policy = OnFailure::fail().after_retries(u32::MAX, Duration::from_secs(3_600));
    let handle = elsewhere.start(&node, "a", policy);
    node.pay("alice", REFUSED, 1).await;
    handle.wait_until(|status| status.state == State::Retrying, PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, handle.stop()).await.unwrap();
    node.host.stop().await;
}

/// Law La5: a pause may come before anybody runs it, and the last word counts.
#[tokio::test]
async fn a_pause_may_come_first() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::default());
    node.payments(4, 1).await;
    for paused in [true, false, true] {
        node.bus().set_paused("elsewhere", paused).await.unwrap();
    }
    let handle = elsewhere.start(&node, "a", OnFailure::fail());
    handle.wait_until(|status| status.state == State::Paused, PATIENCE).await.unwrap();
    assert_eq!(elsewhere.heard(), []);
    handle.resume().await.unwrap();
    elsewhere.until(4).await;
    handle.stop().await;
    node.host.stop().await;
}

/// Law O8: told to begin again, all members do, from the first fact on; set forwards, what lies between is left out. The figures follow, back and forth.
#[tokio::test]
async fn it_begins_again_where_it_is_told() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::default());
    node.payments(8, 1).await;
    let first = elsewhere.start(&node, "a", OnFailure::fail());
    let second = elsewhere.start(&node, "b", OnFailure::fail());
    let heard_all = async |number| {
        let heard = async {
            while elsewhere.heard().len() < number {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let all = tokio::time::timeout(PATIENCE, heard).await;
        assert!(all.is_ok(), "{number} are waited for: {:?}", elsewhere.heard());
    };
    heard_all(8).await;
    second.rebuild().await.unwrap();
    heard_all(16).await;
    let times = |place: &Place| elsewhere.heard().iter().filter(|it| *it == place).count();
    assert!(stored(&node).await.iter().all(|place| times(place) >= 2), "{:?}", elsewhere.heard());

    // Paused, it stands where it is told and stays paused.
    first.pause().await.unwrap();
    let paused = |status: &holm_projections::Status| status.state == State::Paused;
    second.wait_until(paused, PATIENCE).await.unwrap();
    let before = elsewhere.heard().len();
    node.payments(8, 2).await;
    let ends = node.ends_of(&Interest::of::<Account>()).await;
    let stands = async |at: &Position| {
        let stands = async {
            while first.progress().await.unwrap().position != *at {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, stands).await.unwrap();
    };
    let after_one = Position(ends.0.keys().map(|shard| (*shard, Offset(1))).collect());
    for position in [&ends, &after_one] {
        first.set_position(position.clone()).await.unwrap();
        stands(position).await;
    }
    first.set_position(ends).await.unwrap();
    first.resume().await.unwrap();
    node.payments(1, 3).await;
    heard_all(before + 1).await;
    assert_eq!(elsewhere.heard().len(), before + 1, "what lay between was left out");
    first.stop().await;
    second.stop().await;
    node.host.stop().await;
}

/// Law O8: a pause is of all members and survives restarts; paused, the position can be set back, and then it is all handled again.
#[tokio::test]
async fn a_pause_is_of_all_and_survives_restarts() {
    let (node, elsewhere) = (Node::start().await, Elsewhere::default());
    node.payments(8, 1).await;
    let first = elsewhere.start(&node, "a", OnFailure::fail());
    elsewhere.until(8).await;
    let second = elsewhere.start(&node, "b", OnFailure::fail());
    second.pause().await.unwrap();
    let paused = |status: &holm_projections::Status| status.state == State::Paused;
    first.wait_until(paused, PATIENCE).await.unwrap();
    assert!(matches!(first.rebuild().await, Err(OrderError::Refused { .. })));
    first.stop().await;
    let first = elsewhere.start(&node, "a", OnFailure::fail());
    first.wait_until(paused, PATIENCE).await.unwrap();
    node.payments(8, 2).await;
    assert_eq!(elsewhere.heard().len(), 8);
    let set_back = async {
        while node.bus().set_position("elsewhere", &Position::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, set_back).await.unwrap();
    first.resume().await.unwrap();
    elsewhere.until(16).await;
    let all_again = async {
        while elsewhere.heard().len() < 24 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_again).await.unwrap();
    let running = |status: &holm_projections::Status| status.state == State::Running;
    second.wait_until(running, PATIENCE).await.unwrap();
    first.stop().await;
    second.stop().await;
    node.host.stop().await;
}
