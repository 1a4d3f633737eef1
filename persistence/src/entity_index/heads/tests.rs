//! Runs of heads against a map, and with what a damaged database or a crash makes of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::tree;
use super::*;
use crate::store::{SimulatedDisk, StoreOptions};

const LOG: LogId = LogId(3);

type Heads = BTreeMap<Vec<u8>, Offset>;

fn store() -> Arc<Store> {
    SimulatedDisk::new("/simulated", 1).open(StoreOptions::default(), Arc::new(|| {})).unwrap().0
}

fn entity(number: u32) -> Vec<u8> {
    // Some are short, some fill a twelfth of a block.
    format!("account\0{number:0width$}", width = if number.is_multiple_of(7) { 300 } else { 5 })
        .into_bytes()
}

/// Runs, as a flush after the other leaves them.
struct Index {
    store: Arc<Store>,
    runs: Vec<Run>,
    unused: u64,
}

impl Index {
    fn new() -> Self {
        Self { store: store(), runs: Vec::new(), unused: 0 }
    }

    fn flush(&mut self, heads: &Heads) {
        let place = (LOG, self.store.opening());
        let fresh: Vec<_> = heads.iter().map(|(entity, head)| (&entity[..], *head)).collect();
        let written = write(&self.store, place, &self.runs, self.unused, &fresh).unwrap();
        self.unused += 1;
        self.runs = written.runs;
        remove(&self.store, place, &written.replaced).unwrap();
    }

    fn find(&self, entity: &[u8]) -> Result<Option<Offset>, StoreError> {
        find(&self.store, LOG, &self.runs, entity)
    }

    fn blocks(&self) -> Vec<Stored> {
        let (from, to) = (key(LOG, KIND, &[]), key(LOG, KIND + 1, &[]));
        self.store.read_derived(Derived::Index, |tree| tree.keys(from..to, usize::MAX)).unwrap()
    }

    fn remove(&self, block: &Stored) -> Stored {
        let value = self.store.read_derived(Derived::Index, |tree| tree.get(block)).unwrap();
        let lost: Changes = [(block.clone(), None)].into_iter().collect();
        self.store.write_derived(Derived::Index, lost).unwrap();
        value.unwrap()
    }

    fn restore(&self, block: &Stored, value: Stored) {
        let again: Changes = [(block.clone(), Some(value))].into_iter().collect();
        self.store.write_derived(Derived::Index, again).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Law 9 of caches: however the heads are spread over flushes, the newest of each entity is found, and others are not.
    #[test]
    fn runs_answer_like_a_map(
        flushes in prop::collection::vec((0u32..2_000, 1u32..600, 1u32..5), 1..12),
    ) {
        let (mut index, mut model, mut offset) = (Index::new(), Heads::new(), 0);
        for (first, count, step) in flushes {
            let heads: Heads = (0..count).map(|nth| {
                offset += 1;
                (entity((first + nth * step) % 2_000), Offset(offset))
            }).collect();
            index.flush(&heads);
            model.extend(heads);
        }
        for number in 0..2_000 {
            let entity = entity(number);
            prop_assert_eq!(index.find(&entity), Ok(model.get(&entity).copied()));
        }
        prop_assert_eq!(index.find(b"zebra\0a"), Ok(None));
        let named: BTreeSet<_> = index.runs.iter().map(|run| run.number).collect();
        let stored = index.blocks().iter().map(|key| number_of(&index.store, key).unwrap()).collect();
        prop_assert_eq!(named, stored, "nothing of a merged run stays");
    }
}

/// Law 10: whichever block is lost, nobody hears of an older head, or of none: the answer is right or says what is missing. A merge that needs it ends.
#[test]
fn a_lost_block_of_heads_is_noticed() {
    let mut index = Index::new();
    let all: Heads = (0..1_500).map(|number| (entity(number), Offset(1))).collect();
    let some: Heads = (0..1_500).step_by(4).map(|number| (entity(number), Offset(2))).collect();
    index.flush(&all);
    index.flush(&some);
    assert_eq!(index.runs.len(), 2);
    let place = (LOG, index.store.opening());
    let mut right = all.clone();
    right.extend(some);
    let blocks = index.blocks();
    assert!(blocks.len() > 20, "{}", blocks.len());
    for block in &blocks {
        let value = index.remove(block);
        let mut noticed = false;
        for (entity, head) in &right {
            match index.find(entity) {
                Ok(found) => assert_eq!(found, Some(*head)),
                Err(error) => {
                    noticed = true;
                    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
                }
            }
        }
        assert!(noticed, "{block:?}");
        let merged = merge(&index.store, place, &index.runs, 100, &[(b"new\0one", Offset(3))]);
        assert!(matches!(merged.map(drop), Err(StoreError::Damaged { .. })), "{block:?}");
        remove_others(&index.store, LOG, &index.runs).unwrap();
        index.restore(block, value);
    }
    assert_eq!(index.blocks(), blocks);
    assert!(right.iter().all(|(entity, head)| index.find(entity) == Ok(Some(*head))));
}

/// Law 10: what a crash left of a flush counts for nothing.
#[test]
fn a_run_without_a_mark_is_removed() {
    let mut index = Index::new();
    let heads = |offset| (0..900).map(|number| (entity(number), Offset(offset))).collect();
    index.flush(&heads(1));
    let (runs, blocks) = (index.runs.clone(), index.blocks());
    index.unused = 7;
    index.runs.clear();
    index.flush(&heads(2));
    assert!(index.blocks().len() > blocks.len());
    assert_eq!(remove_others(&index.store, LOG, &runs), Ok(()));
    assert_eq!(index.blocks(), blocks);
    assert_eq!(remove_others(&index.store, LOG, &[]), Ok(()));
    assert_eq!(index.blocks(), Vec::<Stored>::new());
    // Neighbours are left alone.
    let (before, behind) = (key(LOG, KIND - 1, &[9]), key(LogId(LOG.0 + 1), KIND, &[9; 8]));
    for key in [&before, &behind] {
        index.restore(&key[..].into(), b"others"[..].into());
    }
    remove_others(&index.store, LOG, &[]).unwrap();
    for key in [before, behind] {
        assert!(index.store.read_derived(Derived::Index, |tree| tree.get(&key)).unwrap().is_some());
    }
}

#[test]
fn a_flush_merges_what_is_not_much_longer() {
    let runs =
        |heads: &[u64]| -> Vec<_> { heads.iter().map(|&heads| Run { number: 0, heads }).collect() };
    for (heads, fresh, kept) in [
        (&[][..], 5, 0),
        (&[5, 5, 5], 5, 3),
        (&[5, 5, 5, 5], 5, 0),
        (&[40, 5, 5, 5], 5, 0),
        (&[41, 5, 5, 5], 5, 4),
        (&[51, 5, 5, 5, 5], 5, 1),
        (&[900, 50, 5, 5, 5, 5], 5, 1),
        (&[5, 5, 5, 11], 5, 4),
    ] {
        assert_eq!(kept_runs(&runs(heads), fresh), kept, "{heads:?} {fresh}");
    }
}

/// Promise G9: however many flushes there are, a look-up has few runs before it, and a head is not written again and again.
#[test]
fn there_are_few_runs_and_little_is_written_twice() {
    let (mut index, mut flushed, mut written, mut most) = (Index::new(), 0, 0, 0);
    for step in 0..300 {
        let heads: Heads = (0..20)
            .map(|nth| (entity((step * 37 + nth * 61) % 4_000), Offset(step.into())))
            .collect();
        flushed += heads.len() as u64;
        index.flush(&heads);
        written += index.runs.last().unwrap().heads;
        most = most.max(index.runs.len());
    }
    assert!(most <= 16, "{most} runs");
    assert!(written <= 5 * flushed, "{written} of {flushed}");
}

/// A golden block: what is stored stays readable.
#[test]
fn a_stored_block_stays_readable() {
    let stored = [
        0, 3, b'c', 0, b'k', // the next block begins with c/k
        0, 3, b'a', 0, b'x', 0, 0, 0, 0, 0, 0, 0, 7, // a/x has its head at 7
        0, 4, b'b', 0, b'y', b'z', 0, 0, 0, 0, 0, 0, 1, 0, // b/yz at 256
    ];
    let block = Block::read(b"", Bytes::copy_from_slice(&stored)).unwrap();
    assert_eq!(block.end(), Some(&b"c\0k"[..]));
    assert_eq!(block.head(b"a\0x"), Some(Offset(7)));
    assert_eq!(block.head(b"b\0yz"), Some(Offset(256)));
    assert_eq!(block.head(b"b\0y"), None);
    assert_eq!(payload(b"c\0k", &[(b"a\0x", 7), (b"b\0yz", 256)]), stored);
    for end in 1..stored.len() {
        let cut = Block::read(b"", Bytes::copy_from_slice(&stored[..end]));
        assert!(cut.is_err() || end == 5 || end == 18, "{end}");
    }
    assert!(Block::read(b"b", Bytes::copy_from_slice(&stored)).is_err(), "a head before its start");
}

/// What versions before this one wrote is no index, and goes.
#[test]
fn an_index_of_an_earlier_version_is_built_anew() {
    let store = store();
    let mut old = Changes::default();
    for kind in *b"emos" {
        old.insert(key(LOG, kind, b"whatever"), &b"it was"[..]);
    }
    tree::put_numbers(&mut old, key(LOG, b'm', &[]), [5, 5, 5, 0]);
    store.write_derived(Derived::Index, old).unwrap();
    let index = super::super::EntityIndex::open(&store, LOG).unwrap();
    assert_eq!(index.watermark(), 0);
    let left = store
        .read_derived(Derived::Index, |it| it.keys(key(LOG, 0, &[])..key(LOG, u8::MAX, &[]), 9));
    assert_eq!(left.unwrap(), Vec::<Stored>::new());
}
