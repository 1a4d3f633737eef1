//! One replica over a consensus that the test plays: what is proposed, and what is said when.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use holm_core::{CausationId, CommandId, CorrelationId, IdempotencyKey, Timestamp};
use holm_persistence::{BatchBuilder, LogId, Record, Store, StoreOptions, StoredVerdict, Trims};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::raft::log_storage::KeepCommitted;
use crate::replicated_log::ShardFollower;

const SHARD: ShardId = ShardId(1);

type Answer<T> = oneshot::Sender<Result<T, NotProposed>>;

/// What was asked of the consensus, each answered by the test.
#[derive(Default)]
struct Played {
    term: AtomicU64,
    proposed: Mutex<Vec<(u64, Answer<Applied>)>>,
    confirms: Mutex<Vec<Answer<()>>>,
}

impl Played {
    fn next_proposal(&self) -> Option<(u64, Answer<Applied>)> {
        let mut proposed = lock_all(&self.proposed);
        (!proposed.is_empty()).then(|| proposed.remove(0))
    }
}

impl Consensus for Played {
    fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    fn propose(&self, term: u64, _: Bytes) -> Pending<Result<Applied, NotProposed>> {
        let (answer, answered) = oneshot::channel();
        lock_all(&self.proposed).push((term, answer));
        Box::pin(async move { answered.await.expect("the test answers") })
    }

    fn confirm(&self, _: u64) -> Pending<Result<(), NotProposed>> {
        let (answer, answered) = oneshot::channel();
        lock_all(&self.confirms).push(answer);
        Box::pin(async move { answered.await.expect("the test answers") })
    }

    fn confirm_at_once(&self, _: u64) -> bool {
        false
    }

    fn settle(&self, term: u64) -> Pending<Result<(), NotProposed>> {
        self.term.store(term, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn barrier(&self, term: u64) -> Pending<Result<(), NotProposed>> {
        self.settle(term)
    }
}

struct Scene {
    consensus: Arc<Played>,
    replica: Replica,
    failures: mpsc::UnboundedSender<Interrupted>,
    heard: mpsc::UnboundedReceiver<Interrupted>,
    _dir: TempDir,
}

impl Scene {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let log = GroupLog::open(store.clone(), LogId(1), 4_096, KeepCommitted::No).unwrap();
        let trims = Trims::new(&store);
        let follower = ShardFollower::open(&store, trims, SHARD, log.clone()).unwrap();
        let consensus = Arc::new(Played::default());
        let (index, progress) = (follower.index(), follower.progress());
        let replica = Replica::new(SHARD, consensus.clone(), log, index, progress);
        let (failures, heard) = mpsc::unbounded_channel();
        Self { consensus, replica, failures, heard, _dir: dir }
    }

    fn open(&self, term: u64) {
        self.replica.open(Term(term)).now_or_never().unwrap().unwrap();
    }

    fn append(&self, term: u64, first: u64) -> Pending<Result<(), AppendError>> {
        self.replica.append(batch(term, first), self.failures.clone())
    }
}

/// Promise G1: nothing is acknowledged before the majority has it, and what was proposed was proposed under the batch's own term.
#[test]
fn a_batch_is_acknowledged_when_it_is_committed() {
    let scene = Scene::set();
    scene.open(3);
    let mut appended = scene.append(3, 1);
    let (term, answer) = scene.consensus.next_proposal().unwrap();
    assert_eq!(term, 3);
    assert_eq!((&mut appended).now_or_never(), None, "no majority has it yet");
    answer.send(Ok(Applied::Accepted)).unwrap();
    assert_eq!(appended.now_or_never(), Some(Ok(())));
}

/// Promise G3: a batch of an older term is refused here already; nothing of it is proposed.
#[test]
fn a_batch_of_an_older_term_is_not_proposed() {
    let scene = Scene::set();
    scene.open(3);
    scene.open(4);
    let fenced = scene.append(3, 1).now_or_never().unwrap();
    assert_eq!(fenced, Err(AppendError::Fenced { shard: SHARD, term: Term(3) }));
    assert!(scene.consensus.next_proposal().is_none());
    let stale = scene.replica.open(Term(3)).now_or_never().unwrap();
    assert!(matches!(stale, Err(OpenError::Fenced { newest: Term(4), .. })), "{stale:?}");
}

/// Law 5: after a write that was not acknowledged nothing more is proposed until the shard is opened again, and whoever leads it is told once.
#[test]
fn an_error_is_sticky_until_the_next_opening() {
    let mut scene = Scene::set();
    scene.open(3);
    let (first, second) = (scene.append(3, 1), scene.append(3, 2));
    for refusal in [Ok(Applied::Gap { expected: 9 }), Err(NotProposed::NotLeader)] {
        scene.consensus.next_proposal().unwrap().1.send(refusal).unwrap();
    }
    let gap = AppendError::Gap { shard: SHARD, expected: Offset(9), found: Offset(1) };
    assert_eq!(first.now_or_never(), Some(Err(gap)));
    let fenced = Err(AppendError::Fenced { shard: SHARD, term: Term(3) });
    assert_eq!(second.now_or_never(), Some(fenced.clone()));
    assert_eq!(scene.append(3, 1).now_or_never(), Some(fenced.clone()));
    let confirmed = scene.replica.confirm(Term(3), scene.failures.clone());
    assert_eq!(confirmed.now_or_never(), Some(fenced));
    assert!(scene.consensus.next_proposal().is_none());
    assert_eq!(scene.heard.try_recv(), Ok(Interrupted { shard: SHARD, term: Term(3) }));
    assert!(scene.heard.try_recv().is_err());
    scene.open(3);
    let _again = scene.append(3, 1);
    assert!(scene.consensus.next_proposal().is_some());
}

/// Promise G5: the word that a term still holds comes from the consensus, not from memory.
#[test]
fn a_term_is_confirmed_by_the_consensus() {
    let scene = Scene::set();
    scene.open(3);
    let mut confirmed = scene.replica.confirm(Term(3), scene.failures.clone());
    assert_eq!((&mut confirmed).now_or_never(), None);
    lock_all(&scene.consensus.confirms).remove(0).send(Err(NotProposed::NotLeader)).unwrap();
    let fenced = AppendError::Fenced { shard: SHARD, term: Term(3) };
    assert_eq!(confirmed.now_or_never(), Some(Err(fenced)));
}

fn batch(term: u64, first: u64) -> Batch {
    let mut builder = BatchBuilder::new(SHARD, Term(term), Offset(first));
    let record = Record {
        entity_type: "account",
        entity_id: "a",
        previous: Offset::ZERO,
        base: SequenceNumber::ZERO,
        at: Timestamp::default(),
        command: "deposit",
        id: CommandId::default(),
        correlation: CorrelationId::default(),
        causation: CausationId::default(),
        key: IdempotencyKey::new("k").unwrap(),
        fingerprint: 0,
        events: Vec::new(),
        verdict: StoredVerdict::Accepted(b""),
        reactions: Vec::new(),
    };
    builder.push(&record).unwrap();
    builder.finish()
}

fn lock_all<T>(asked: &Mutex<T>) -> MutexGuard<'_, T> {
    asked.lock().unwrap()
}
