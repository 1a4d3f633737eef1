//! An index that lost updates: what a damaged database does without a word.

use std::collections::HashMap;
use std::sync::{Arc, Barrier};

use holm_core::{CorrelationId, Offset, SequenceNumber, ShardId, Term};

use super::{EntityIndex, conversations, heads, memory, places, tree};
use crate::batch::{Batch, BatchBuilder};
use crate::conformance::{Writer, address, wait};
use crate::shard_log::ShardLog as _;
use crate::sled_log::SledLog;
use crate::store::{Changes, Derived, LogId, Op, SimulatedDisk, Store, StoreError, StoreOptions};

const SHARD: ShardId = ShardId(0);

/// Removes the keys of one kind behind the back of an index that was flushed.
fn remove(store: &Arc<Store>, kind: u8) -> usize {
    let (from, to) = (tree::key(LogId(0), kind, &[]), tree::key(LogId(0), kind + 1, &[]));
    let keys = store.read_derived(Derived::Index, |tree| tree.keys(from..to, usize::MAX)).unwrap();
    let removed = keys.len();
    let changes: Changes = keys.into_iter().map(|key| (key, None)).collect();
    store.write_derived(Derived::Index, changes).unwrap();
    removed
}

#[test]
fn what_an_index_lost_is_found_in_the_log() {
    for kind in [b'h', b'b', b'c'] {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
            SledLog::start(store, 1).unwrap()
        };
        let log = open();
        wait(log.open(SHARD, Term(1))).unwrap();
        let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
        let batch = writer.batch(&[(&account, 1)]);
        wait(log.append(batch.clone())).unwrap();
        log.flush_indexes();
        assert!(remove(log.store(), kind) > 0, "the index was written");
        log.store().close().unwrap();
        drop(log);

        let log = open();
        assert_eq!(log.last_offset(SHARD), Ok(batch.last()));
        assert_eq!(log.read(SHARD, Offset(1), 1).as_deref(), Ok(std::slice::from_ref(&batch)));
        let history = log.history(SHARD, &account, SequenceNumber::ZERO, usize::MAX).unwrap();
        assert_eq!(history.head, batch.last());
        let conversation = writer.conversation_of(batch.last());
        assert_eq!(found(&log, conversation), (vec![batch.last().0], Some(1)));
    }
}

/// The same with what is there and is not what was written, found out in a running process and in the next one.
#[test]
fn what_is_spoiled_in_an_index_is_found_in_the_log() {
    for (kind, reopens) in
        [b'h', b'b', b'c', b'w'].into_iter().flat_map(|it| [(it, false), (it, true)])
    {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), true);
        wait(log.open(SHARD, Term(1))).unwrap();
        let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
        let batch = writer.batch(&[(&account, 1)]);
        wait(log.append(batch.clone())).unwrap();
        log.flush_indexes();
        let (from, to) = (tree::key(LogId(0), kind, &[]), tree::key(LogId(0), kind + 1, &[]));
        let pairs = log.store().read_derived(Derived::Index, |tree| tree.pairs(from..to)).unwrap();
        assert!(!pairs.is_empty());
        let spoiled = pairs.into_iter().map(|(key, value)| {
            let mut bytes = value.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            (key, Some(bytes.into()))
        });
        log.store().write_derived(Derived::Index, spoiled.collect()).unwrap();
        if reopens {
            log.store().close().unwrap();
            drop(log);
            log = open(dir.path(), true);
        }
        assert_eq!(log.read(SHARD, Offset(1), 1).as_deref(), Ok(std::slice::from_ref(&batch)));
        let history = log.history(SHARD, &account, SequenceNumber::ZERO, usize::MAX).unwrap();
        assert_eq!(history.head, batch.last(), "{}", char::from(kind));
        let conversation = writer.conversation_of(batch.last());
        assert_eq!(found(&log, conversation), (vec![batch.last().0], Some(1)));
    }
}

/// What is queued for the keeper when the store is reopened belongs to an index that nobody trusts any more; the next one must not find it.
#[test]
fn a_flush_that_a_reopening_overtook_writes_nothing() {
    let disk = SimulatedDisk::new("/simulated", 1);
    let (store, pump) = disk.open(StoreOptions::default(), Arc::new(|| {})).unwrap();
    let log = LogId(0);
    let account = address("account/1");
    let batch = Writer::new(SHARD, Term(1)).batch(&[(&account, 1)]);
    let old = EntityIndex::open(&store, log).unwrap();
    old.apply(1, &batch).unwrap();
    old.shared.begin_flush(&mut old.shared.lock());
    // Nobody has carried it out when a sync fails.
    disk.fail_syncs(1);
    let append = Op::Append { log, index: 1, value: batch.bytes().clone() };
    store.commit(vec![append], Box::new(|appended| assert!(appended.is_err())));
    pump.begin().unwrap().finish();
    store.reopen().unwrap();
    let new = EntityIndex::open(&store, log).unwrap();
    let stored = || {
        let (from, to) = (tree::key(log, 0, &[]), tree::key(log, u8::MAX, &[]));
        store.read_derived(Derived::Index, |tree| tree.keys(from..to, usize::MAX)).unwrap()
    };
    let before = stored();
    pump.keep();
    assert_eq!(stored(), before, "the new index is as it was");
    assert_eq!(new.head(&account), Ok(None));
    assert_eq!(old.shared.lock().failed, Some(StoreError::Reopened { log }));
}

/// An entity that is looked up while its index is discarded must not be taken for one that never was.
#[test]
fn a_look_up_beside_the_discarding_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = (Store::open(dir.path(), StoreOptions::default()).unwrap(), LogId(0));
    let account = address("account/1");
    let batch = Writer::new(SHARD, Term(1)).batch(&[(&account, 1)]);
    let append = Op::Append { log, index: 1, value: batch.bytes().clone() };
    let (appended, is_appended) = std::sync::mpsc::channel();
    store.commit(vec![append], Box::new(move |done| appended.send(done).unwrap()));
    is_appended.recv().unwrap().unwrap();
    let index = EntityIndex::open(&store, log).unwrap();
    index.apply(1, &batch).unwrap();
    index.flush().unwrap();
    assert_eq!(index.head(&account), Ok(Some(Offset(1))));

    let key = memory::entity_key(account.entity_type(), account.id());
    let looked_up = index.shared.unless_discarded(|| {
        index.report_damage("for the test");
        let head = heads::find(&store, log, &[], &key);
        assert_eq!(head, Ok(None), "what was discarded is gone");
        head
    });
    assert!(matches!(looked_up, Err(StoreError::Damaged { .. })), "{looked_up:?}");
}

/// Whoever looks for an entity while the runs of its index are merged finds a head, and never an older one than before.
#[test]
fn heads_are_found_while_their_runs_are_merged() {
    const ENTITIES: usize = 400;
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let index = EntityIndex::open(&store, LogId(0)).unwrap();
    let entities: Vec<_> = (0..ENTITIES).map(|n| address(&format!("account/{n}"))).collect();
    let mut writer = Writer::new(SHARD, Term(1));
    let mut batches = Vec::new();
    for step in 0..250 {
        let count = if step == 0 { ENTITIES } else { 1 + step * 7 % 90 };
        let commands = (0..count).map(|nth| (&entities[(step * 31 + nth) % ENTITIES], 1));
        batches.push(writer.batch(&commands.collect::<Vec<_>>()));
    }
    let last = batches.last().unwrap().last();
    index.apply(1, &batches[0]).unwrap();
    let began = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut before = vec![Offset::ZERO; ENTITIES];
            let mut look_at_all = || {
                for (entity, before) in entities.iter().zip(&mut before) {
                    let head = index.head(entity).unwrap().expect("it is there from the first");
                    assert!(head >= *before, "{entity}: {head} behind {before}");
                    *before = head;
                }
            };
            look_at_all();
            began.wait();
            while index.last_offset() < last {
                look_at_all();
            }
        });
        began.wait();
        for (entry, batch) in (1..).zip(&batches) {
            index.apply(entry, batch).unwrap();
            index.flush().unwrap();
        }
    });
    assert!(index.shared.lock().flushed.runs.len() < 20, "they were merged");
    let records = batches.iter().flat_map(Batch::records);
    let newest: HashMap<_, _> =
        records.map(|it| (it.decode().unwrap().entity_id.to_owned(), it.offset)).collect();
    for entity in &entities {
        assert_eq!(index.head(entity), Ok(newest.get(entity.id()).copied()));
    }
}

/// Law 10: a run that was lost as a whole is missed, whatever is flushed behind it: its number is never another's.
#[test]
fn a_lost_run_is_not_hidden_by_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut lost) = (Writer::new(SHARD, Term(0)), None);
    let (one, other) = (address("account/1"), address("account/2"));
    for (term, commands) in [(1, &[&one, &other][..]), (2, &[&one]), (3, &[&other]), (4, &[&other])]
    {
        let log = open(dir.path(), true);
        wait(log.open(SHARD, Term(term))).unwrap();
        writer = writer.at(Term(term));
        let commands: Vec<_> = commands.iter().map(|entity| (*entity, 1)).collect();
        wait(log.append(writer.batch(&commands))).unwrap();
        log.flush_indexes();
        if term == 2 {
            let (from, to) = (tree::key(LogId(0), b'h', &[]), tree::key(LogId(0), b'i', &[]));
            let newest = log.store().read_derived(Derived::Index, |tree| tree.last(from..to));
            let newest = newest.unwrap().unwrap().0;
            let removed: Changes = [(newest.clone(), None)].into_iter().collect();
            log.store().write_derived(Derived::Index, removed).unwrap();
            lost = Some(newest);
        }
        log.close().unwrap();
    }
    assert!(lost.is_some());
    let log = open(dir.path(), true);
    let head = |entity| log.history(SHARD, entity, SequenceNumber::ZERO, 9).unwrap().head;
    assert_eq!((head(&one), head(&other)), (Offset(3), Offset(5)));
    assert!(!log.store().take_index_troubles().is_empty(), "it was missed");
}

/// Law 10: what a flush that was not finished left behind of where batches lie is gone before the next one, whose blocks begin elsewhere.
#[test]
fn places_of_an_unfinished_flush_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), true);
    wait(log.open(SHARD, Term(1))).unwrap();
    let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
    let mut write = |batches| {
        for _ in 0..batches {
            wait(log.append(writer.batch(&vec![(&account, 1); 20]))).unwrap();
        }
    };
    write(10);
    log.flush_indexes();
    let place = (LogId(0), log.store().opening());
    places::write(log.store(), place, (201..900).map(|offset| (Offset(offset), 3))).unwrap();
    let blocks = || {
        let (from, to) = (tree::key(LogId(0), b'b', &[]), tree::key(LogId(0), b'c', &[]));
        let keys = log.store().read_derived(Derived::Index, |it| it.keys(from..to, usize::MAX));
        keys.unwrap().len()
    };
    assert_eq!(blocks(), 1 + 3);
    let index = EntityIndex::open(log.store(), LogId(0)).unwrap();
    assert_eq!((blocks(), index.last_offset()), (1, Offset(200)));
    assert!(places::find(log.store(), LogId(0), Offset(200)).unwrap().is_some_and(|it| it <= 10));
}

/// A merge that meets a missing block gives the index up: with it, no flush would ever come to its end.
#[test]
fn a_flush_that_finds_a_block_missing_gives_the_index_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), true);
    wait(log.open(SHARD, Term(1))).unwrap();
    let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
    let mut flush = || {
        wait(log.append(writer.batch(&[(&account, 1)]))).unwrap();
        log.flush_indexes();
    };
    (0..4).for_each(|_| flush());
    assert_eq!(remove(log.store(), b'h'), 4);
    flush();
    let troubles = log.store().take_index_troubles();
    assert!(troubles.iter().any(|it| it.reason.contains("a block of heads is missing")));
    let history = log.history(SHARD, &account, SequenceNumber::ZERO, usize::MAX).unwrap();
    assert_eq!((history.head, history.highest), (Offset(5), SequenceNumber(5)));
    log.flush_indexes();
    assert!(remove(log.store(), b'h') > 0, "the new one is written");
}

/// All offsets of a conversation, and from where on the log knows them.
fn found(log: &SledLog, conversation: CorrelationId) -> (Vec<u64>, Option<u64>) {
    let (mut offsets, mut next, mut known_from) = (Vec::new(), Some(Offset(1)), None);
    while let Some(at) = next {
        let page = log.conversation(SHARD, conversation, at, usize::MAX).unwrap();
        offsets.extend(page.records.iter().map(|record| record.stored.offset.0));
        (next, known_from) = (page.next, page.known_from.map(|from| from.0));
    }
    (offsets, known_from)
}

fn open(dir: &std::path::Path, correlation_index: bool) -> SledLog {
    let options = StoreOptions { correlation_index, ..StoreOptions::default() };
    SledLog::start(Store::open(dir, options).unwrap(), 1).unwrap()
}

/// Appends so many records of conversations that take turns, in several runs.
fn write(log: &SledLog, writer: &mut Writer, records: usize, runs: usize) {
    let account = address("account/1");
    for _ in 0..runs {
        for _ in 0..records / 500 {
            wait(log.append(writer.batch(&vec![(&account, 1); 500]))).unwrap();
        }
        log.flush_indexes();
    }
}

/// Every third record; the rest belong to others.
fn every_third(end: u64) -> Vec<u64> {
    (1..=end).filter(|offset| offset % 3 == 1).collect()
}

/// Law 10: a conversation that fills some blocks of each of two runs, and each single block lost: what is asked for is noticed, and the index built anew.
#[test]
fn a_lost_block_of_conversations_is_noticed() {
    let all = (every_third(8_000), Some(1));
    let (mut nth, mut blocks, mut noticed) = (0, 1, 0);
    while nth < blocks {
        // In memory where the system can: what is tested does not depend on a disk, and every block wants a directory.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let log = open(dir.path(), true);
        wait(log.open(SHARD, Term(1))).unwrap();
        let mut writer = Writer::new(SHARD, Term(1)).in_conversations(3);
        write(&log, &mut writer, 4_000, 2);
        let conversation = writer.conversation_of(Offset(1));
        assert_eq!(found(&log, conversation), all);
        let (from, to) = (tree::key(LogId(0), b'c', &[]), tree::key(LogId(0), b'd', &[]));
        let keys = log.store().read_derived(Derived::Index, |it| it.keys(from..to, usize::MAX));
        let keys = keys.unwrap();
        blocks = keys.len();
        let lost: Changes = [(keys[nth].clone(), None)].into_iter().collect();
        log.store().write_derived(Derived::Index, lost).unwrap();
        assert_eq!(found(&log, conversation), all, "{:?}", keys[nth]);
        // The index that was built anew is in memory yet.
        let stored = EntityIndex::open(log.store(), LogId(0)).unwrap();
        noticed += usize::from(stored.watermark() == 0);
        nth += 1;
    }
    // 1,333 numbers of 4,000 in blocks of 510: three blocks of eight at least, in each run.
    assert!(blocks == 16 && noticed >= 6, "{noticed} of {blocks}");
}

/// Law 10: a run that was not finished counts for nothing, and the next one takes its place.
#[test]
fn a_run_that_a_crash_cut_short_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), true);
    wait(log.open(SHARD, Term(1))).unwrap();
    let mut writer = Writer::new(SHARD, Term(1)).in_conversations(3);
    write(&log, &mut writer, 1_000, 1);
    // What lies there of a flush that did not come to its mark.
    let place = (LogId(0), log.store().opening());
    conversations::write(log.store(), place, Offset(1_001), &[7; 2_000]).unwrap();
    write(&log, &mut writer, 500, 0);
    log.store().close().unwrap();
    drop(log);
    let log = open(dir.path(), true);
    wait(log.open(SHARD, Term(2))).unwrap();
    let mut writer = writer.at(Term(2));
    write(&log, &mut writer, 1_500, 1);
    let conversation = writer.conversation_of(Offset(1));
    assert_eq!(found(&log, conversation), (every_third(2_500), Some(1)));
}

/// Law 10: switched off, nothing is claimed and nothing kept; switched on, conversations are known from there on.
#[test]
fn conversations_are_known_from_where_they_are_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(SHARD, Term(0)).in_conversations(3);
    let conversation = writer.conversation_of(Offset(1));
    let mut end = 0;
    for (term, is_on, known_from) in [
        (1, true, Some(1)),
        (2, true, Some(1)),
        (3, false, None),
        (4, false, None),
        (5, true, Some(4_001)),
        (6, true, Some(4_001)),
    ] {
        let log = open(dir.path(), is_on);
        wait(log.open(SHARD, Term(term))).unwrap();
        writer = writer.at(Term(term));
        write(&log, &mut writer, 1_000, 1);
        end += 1_000;
        let known = |offset: &u64| known_from.is_some_and(|from| *offset >= from);
        let expected: Vec<_> = every_third(end).into_iter().filter(known).collect();
        assert_eq!(found(&log, conversation), (expected, known_from), "{term}");
        let (from, to) = (tree::key(LogId(0), b'c', &[]), tree::key(LogId(0), b'd', &[]));
        let kept = log.store().read_derived(Derived::Index, |tree| tree.keys(from..to, 1)).unwrap();
        assert_eq!(kept.is_empty(), !is_on);
        log.close().unwrap();
    }
}

/// Law 10: two conversations that share a fingerprint are not taken for each other.
#[test]
fn a_shared_fingerprint_is_no_shared_conversation() {
    let mut by_fingerprint = HashMap::new();
    let (one, other) = (0u128..)
        .find_map(|number| {
            // Multiplied apart: near numbers never share a checksum.
            let id = CorrelationId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
            let known = by_fingerprint.insert(conversations::fingerprint(id), id)?;
            Some((known, id))
        })
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), true);
    wait(log.open(SHARD, Term(1))).unwrap();
    let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
    let plain = writer.batch(&vec![(&account, 1); 40]);
    let mut batch = BatchBuilder::new(SHARD, Term(1), Offset(1));
    for stored in plain.records() {
        let mut record = stored.decode().unwrap();
        record.correlation = if stored.offset.0 % 2 == 0 { one } else { other };
        batch.push(&record).unwrap();
    }
    wait(log.append(batch.finish())).unwrap();
    for _ in 0..2 {
        for (conversation, rest) in [(one, 0), (other, 1)] {
            let expected = (1..=40).filter(|offset| offset % 2 == rest).collect();
            assert_eq!(found(&log, conversation), (expected, Some(1)));
        }
        log.flush_indexes();
    }
}
