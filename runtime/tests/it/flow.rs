//! Searching the logs for one conversation: nothing is missed, little is read, and what could not be read is said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AskError, CausationId, CommandId, CorrelationId, EntityAddress, IdempotencyKey, NodeId, Offset,
    Outcome, SeededEntropy, SequenceNumber, ShardId, Term, Timestamp,
};
use holm_persistence::{Batch, BatchBuilder, Pending, Record, StoredVerdict};
use holm_runtime::flow::{FlowSearch, Found, LOOK_AHEAD, TOLERANCE, Window, latest};
use holm_runtime::{ConversationEntry, ConversationPage, HistoryPage, Inspector};
use proptest::prelude::*;

const WANTED: CorrelationId = CorrelationId(7);
const SHARDS: u32 = 2;

/// Logs of batches of three records, each given as its time and its conversation.
#[derive(Default)]
struct Logs {
    shards: Vec<Vec<(u64, CorrelationId)>>,
    /// A shard that cannot be read, and what is said of it.
    broken: Option<(ShardId, AskError)>,
    reads: AtomicU64,
    /// The first offset that an index knows, if there is one, in pages of two records.
    known_from: Option<u64>,
}

const BATCH: usize = 3;

impl Logs {
    fn of(shards: Vec<Vec<(u64, CorrelationId)>>) -> Arc<Self> {
        Arc::new(Self { shards, ..Self::default() })
    }

    fn batch(&self, shard: ShardId, from: Offset) -> Option<Bytes> {
        let log = &self.shards[shard.0 as usize];
        let start = (usize::try_from(from.0).unwrap() - 1) / BATCH * BATCH;
        let records = log.get(start..)?;
        if records.is_empty() || from.0 > log.len() as u64 {
            return None;
        }
        let mut builder = BatchBuilder::new(shard, Term(1), Offset(start as u64 + 1));
        for (offset, (at, correlation)) in (start..).zip(records.iter().take(BATCH)) {
            let id = CommandId((u128::from(shard.0) << 64) + offset as u128 + 1);
            let record = Record {
                entity_type: "account",
                entity_id: "a",
                previous: Offset::ZERO,
                base: SequenceNumber::ZERO,
                at: Timestamp::from_millis(*at),
                command: "deposit",
                id,
                correlation: *correlation,
                causation: CausationId(id.0),
                key: IdempotencyKey::new("k").unwrap(),
                fingerprint: 0,
                events: Vec::new(),
                verdict: StoredVerdict::Accepted(&[]),
                reactions: Vec::new(),
            };
            builder.push(&record).unwrap();
        }
        Some(builder.made_by(NodeId(u64::from(shard.0) + 1)).finish().bytes().clone())
    }
}

impl Inspector for Logs {
    fn history(
        &self,
        _: EntityAddress,
        _: SequenceNumber,
        _: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        Box::pin(async { Ok(HistoryPage::default()) })
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        _: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let batches = self.batch(shard, from).into_iter().collect();
        Box::pin(async { Ok(batches) })
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        _: usize,
    ) -> Pending<Result<ConversationPage, AskError>> {
        let Some(known_from) = self.known_from else {
            return Box::pin(async { Ok(ConversationPage::default()) });
        };
        let log = (1..).zip(&self.shards[shard.0 as usize]);
        let mut found: Vec<_> = log
            .filter(|(offset, (_, of))| *of == correlation && *offset >= known_from.max(from.0))
            .map(|(offset, _)| {
                let batch = Batch::parse(self.batch(shard, Offset(offset)).unwrap()).unwrap();
                let bytes = batch.record(Offset(offset)).unwrap().bytes;
                ConversationEntry { offset: Offset(offset), made_by: batch.made_by(), bytes }
            })
            .collect();
        let next = found.get(2).map(|entry| entry.offset);
        found.truncate(2);
        let page = ConversationPage { records: found, known_from: Some(Offset(known_from)), next };
        Box::pin(async { Ok(page) })
    }

    fn tail(&self, shard: ShardId, _: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        let end = Offset(self.shards[shard.0 as usize].len() as u64);
        let broken = self.broken.clone().filter(|(broken, _)| *broken == shard);
        let answer = broken.map_or(Ok(end), |(_, error)| Err(error));
        Box::pin(async { answer })
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.batches(shard, seen.next(), max_bytes)
    }
}

async fn search(logs: &Arc<Logs>, wanted: CorrelationId, window: Window) -> Found {
    let shards = u32::try_from(logs.shards.len()).unwrap();
    let mut search = FlowSearch::new(Arc::clone(logs) as Arc<_>, shards, wanted, window);
    search.run().await;
    search.finish()
}

fn places(found: &Found) -> BTreeSet<(u32, u64)> {
    found.gathered.steps.iter().map(|step| (step.shard.0, step.offset.0)).collect()
}

/// A conversation that begins at this time.
fn opened(at: u64) -> CorrelationId {
    CommandId::generate(Timestamp::from_millis(at), &mut SeededEntropy::new(at)).opens()
}

/// A long log costs a few reads where a conversation is young or old, and what lies behind the window is said to be there.
#[tokio::test]
async fn only_the_time_of_the_conversation_is_read() {
    let hour = 3_600_000;
    let began = 500 * hour;
    let wanted = opened(began);
    let mut log: Vec<_> = (0..1_000).map(|n| (n * hour, CorrelationId(1))).collect();
    log.insert(500, (began, wanted));
    let logs = Logs::of(vec![log.clone(), log]);
    let window = Window::around(wanted).unwrap();
    let found = search(&logs, wanted, window).await;
    assert_eq!(places(&found), BTreeSet::from([(0, 501), (1, 501)]));
    assert!(found.cut, "the logs go on");
    assert!(found.records <= 20, "{} records", found.records);
    assert!(logs.reads.load(Ordering::Relaxed) <= 40, "{:?} reads", logs.reads);
    let everything = search(&logs, wanted, Window::everything()).await;
    assert_eq!(everything.gathered, found.gathered);
    assert_eq!((everything.records, everything.cut), (2_002, false));
}

#[test]
fn an_id_that_tells_no_time_has_no_window() {
    assert_eq!(Window::around(WANTED), None);
    let young = Window::around(opened(5)).unwrap();
    assert_eq!(young.from, Timestamp::EPOCH);
    assert_eq!(young.until, Timestamp::from_millis(5).plus(LOOK_AHEAD));
}

/// Promise G8: what was not looked at is told, never passed over in silence.
#[tokio::test]
async fn a_shard_that_cannot_be_read_is_named() {
    let log = vec![(1, WANTED), (2, WANTED)];
    let broken = |error| {
        let broken = Some((ShardId(1), error));
        Arc::new(Logs { shards: vec![log.clone(), log.clone()], broken, ..Logs::default() })
    };
    // What waiting does not mend is told at once.
    let entity_type = "account".into();
    let logs = broken(AskError::UnknownEntityType { entity_type, nearest: None });
    let found = search(&logs, WANTED, Window::everything()).await;
    assert_eq!(places(&found), BTreeSet::from([(0, 1), (0, 2)]));
    assert_eq!((found.unread.keys().collect::<Vec<_>>(), found.unfinished), (vec![&ShardId(1)], 0));
    assert!(latest(logs, SHARDS, None, 5).await.is_err());
    // An election is waited for; a search that is ended meanwhile says what it has not read.
    let (reason, outcome) = ("an election".into(), Outcome::NotApplied);
    let logs = broken(AskError::Unavailable { shard: ShardId(1), reason, outcome });
    let mut search = FlowSearch::new(logs, SHARDS, WANTED, Window::everything());
    assert!(tokio::time::timeout(Duration::from_millis(50), search.run()).await.is_err());
    let found = search.finish();
    assert_eq!((places(&found).len(), found.unfinished), (2, 1));
}

/// Law 10, as a search has it: what an index knows is not read, what it does not know is, and the steps are the same, with who wrote them.
#[tokio::test]
async fn an_index_answers_for_what_it_knows() {
    let hour = 3_600_000;
    let log = |shard: u64| -> Vec<_> {
        let of = |n: u64| if n % 7 == shard { WANTED } else { CorrelationId(1) };
        (0..100).map(|n| (n * hour, of(n))).collect()
    };
    let shards = || vec![log(0), log(1)];
    let read = search(&Logs::of(shards()), WANTED, Window::everything()).await;
    assert_eq!((read.gathered.steps.len(), read.searched), (30, 2));
    assert!(
        read.gathered.steps.iter().all(|it| it.node == Some(NodeId(u64::from(it.shard.0) + 1)))
    );
    for (known_from, searched, most_reads) in [(1, 0, 0), (51, 2, 60), (101, 2, 80)] {
        let known_from = Some(known_from);
        let logs = Arc::new(Logs { shards: shards(), known_from, ..Logs::default() });
        let found = search(&logs, WANTED, Window::everything()).await;
        assert_eq!(found.gathered, read.gathered, "{known_from:?}");
        assert_eq!((found.searched, found.unfinished), (searched, 0), "{known_from:?}");
        let reads = logs.reads.load(Ordering::Relaxed);
        assert!(reads <= most_reads, "{known_from:?}: {reads} reads");
        let all = FlowSearch::new(logs.clone(), SHARDS, WANTED, Window::everything());
        let mut all = all.reading_all();
        all.run().await;
        assert_eq!(all.finish(), read);
    }
}

#[tokio::test]
async fn the_newest_conversations_are_each_listed_once() {
    let log = |shard: u64| (0..2_500).map(move |n| (2 * n + shard, CorrelationId((n / 2).into())));
    let logs = Logs::of(vec![log(0).collect(), log(1).collect()]);
    let newest = latest(logs.clone(), SHARDS, None, 3).await.unwrap();
    let ids: Vec<_> = newest.iter().map(|it| (it.id.0, it.at.as_millis())).collect();
    assert_eq!(ids, [(1_249, 4_999), (1_248, 4_995), (1_247, 4_991)]);
    let account = latest(logs.clone(), SHARDS, Some("account".to_owned()), 3).await.unwrap();
    assert_eq!(account, newest);
    assert!(latest(logs, SHARDS, Some("seat".to_owned()), 3).await.unwrap().is_empty());
}

/// The promise of the window: no clock off by more than half of the tolerance, nothing missed. `true_time` rises along the log; what a record
/// carries, and the id, are off by up to that much in either direction.
fn logs_of_bad_clocks() -> impl Strategy<Value = (Vec<(u64, i64, bool)>, i64)> {
    let half = i64::try_from(TOLERANCE.as_millis()).unwrap() / 2;
    let record = (0u64..200_000, -half..=half, prop::bool::weighted(0.2));
    (prop::collection::vec(record, 1..80), -half..=half)
}

proptest! {
    #[test]
    fn nothing_is_missed_while_clocks_keep_the_tolerance((steps, id_off) in logs_of_bad_clocks()) {
        let half = i64::try_from(TOLERANCE.as_millis()).unwrap() / 2;
        let mut true_time = i64::try_from(2 * TOLERANCE.as_millis()).unwrap();
        let mut log = Vec::new();
        let mut began = None;
        for (gap, off, is_wanted) in steps {
            true_time += i64::try_from(gap).unwrap();
            if is_wanted {
                began.get_or_insert(true_time);
            }
            log.push((u64::try_from(true_time + off).unwrap(), is_wanted));
        }
        let Some(began) = began else { return Ok(()) };
        prop_assert!(id_off.abs() <= half);
        let wanted = opened(u64::try_from(began + id_off).unwrap());
        let log: Vec<_> =
            log.into_iter().map(|(at, is)| (at, if is { wanted } else { CorrelationId(1) })).collect();
        let logs = Logs::of(vec![log]);
        let window = Window { until: Window::everything().until, ..Window::around(wanted).unwrap() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (near, all) = runtime.block_on(async {
            (search(&logs, wanted, window).await, search(&logs, wanted, Window::everything()).await)
        });
        prop_assert_eq!(near.gathered, all.gathered);
    }
}
