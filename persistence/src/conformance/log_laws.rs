//! The numbered laws of the shard log.

use holm_core::{Offset, SequenceNumber, Term};

use super::{Check, OTHER_SHARD, SHARD, Subject, Writer, address, list_checks, wait};
use crate::batch::Batch;
use crate::chain::HISTORY_BYTES;
use crate::shard_log::{AppendError, OpenError, SnapshotCriteria};

/// The checks of this module.
pub const CHECKS: &[Check] = list_checks![
    law_1_batches_in_flight_become_durable_in_order,
    law_1_gaps_and_doubles_are_refused,
    law_1_shards_have_logs_of_their_own,
    law_2_an_older_term_is_fenced,
    law_2_a_term_is_opened_once,
    law_3_what_was_said_survives_reopening,
    law_4_a_long_batch_is_read_whole,
    law_5_an_error_is_sticky_until_the_next_open,
    law_5_batches_behind_a_failed_one_fail_too,
    law_6_reads_and_followers_see_what_was_said,
    law_7_reading_is_bounded_and_never_skips,
    law_8_chains_are_followed_through_interleaved_entities,
    law_8_records_without_events_belong_to_the_chain,
    law_8_a_page_of_a_history_is_bounded_by_its_bytes,
    law_9_histories_do_not_depend_on_snapshots,
];

/// Law 1: batches appended without waiting are all accepted, and stand in the log in the order of the calls (G4).
pub fn law_1_batches_in_flight_become_durable_in_order(subject: &mut dyn Subject) {
    let mut writer = Writer::lead(subject, SHARD);
    let alice = address("account/alice");
    let batches: Vec<Batch> = (1..=20).map(|size| writer.batch(&vec![(&alice, 1); size])).collect();
    let log = subject.log();
    let pending: Vec<_> = batches.iter().map(|batch| log.append(batch.clone())).collect();
    for outcome in pending {
        assert_eq!(wait(outcome), Ok(()));
    }
    assert_eq!(read_all(subject), batches);
}

/// Law 1: a batch that leaves a gap or comes twice is refused and never read.
pub fn law_1_gaps_and_doubles_are_refused(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    let first = writer.batch(&[(&alice, 1), (&alice, 1)]);
    assert_eq!(wait(subject.log().append(first.clone())), Ok(()));
    let double = wait(subject.log().append(first.clone()));
    let expected = AppendError::Gap { shard: SHARD, expected: Offset(3), found: Offset(1) };
    assert_eq!(double, Err(expected));
    let (term, _) = subject.lead(SHARD);
    let mut writer = writer.at(term);
    let _skipped = writer.batch(&[(&alice, 1)]);
    let gap = writer.write(subject, &[(&alice, 1)]);
    let expected = AppendError::Gap { shard: SHARD, expected: Offset(3), found: Offset(4) };
    assert_eq!(gap, Err(expected));
    assert_eq!(read_all(subject), [first]);
}

/// Law 1: each shard numbers its own offsets, and none sees the records of another.
pub fn law_1_shards_have_logs_of_their_own(subject: &mut dyn Subject) {
    let (alice, bob) = (address("account/alice"), address("account/bob"));
    let mut here = Writer::lead(subject, SHARD);
    let mut there = Writer::lead(subject, OTHER_SHARD);
    assert_eq!(here.write(subject, &[(&alice, 1), (&alice, 1)]), Ok(()));
    assert_eq!(there.write(subject, &[(&bob, 1)]), Ok(()));
    let log = subject.log();
    assert_eq!(log.last_offset(SHARD), Ok(Offset(2)));
    assert_eq!(log.last_offset(OTHER_SHARD), Ok(Offset(1)));
    let history = log.history(OTHER_SHARD, &alice, SequenceNumber::ZERO, 9).expect("readable");
    assert_eq!((history.head, history.records.len()), (Offset::ZERO, 0));
}

/// Law 2: once a newer term was opened, a batch made under the older one is refused and never read, and the older term is not confirmed (G3).
pub fn law_2_an_older_term_is_fenced(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut old = Writer::lead(subject, SHARD);
    assert_eq!(old.write(subject, &[(&alice, 1)]), Ok(()));
    assert_eq!(wait(subject.log().confirm(SHARD, old.term())), Ok(()));
    let (term, opened) = subject.lead(SHARD);
    assert!(term > old.term(), "terms only rise");
    assert_eq!(opened.last, Offset(1));
    let mut new = old.clone().at(term);
    let late = old.write(subject, &[(&alice, 1)]);
    assert_eq!(late, Err(AppendError::Fenced { shard: SHARD, term: old.term() }));
    let unconfirmed = wait(subject.log().confirm(SHARD, old.term()));
    assert_eq!(unconfirmed, Err(AppendError::Fenced { shard: SHARD, term: old.term() }));
    assert_eq!(wait(subject.log().confirm(SHARD, term)), Ok(()));
    assert_eq!(new.write(subject, &[(&alice, 1)]), Ok(()));
    let terms: Vec<Term> = read_all(subject).iter().map(Batch::term).collect();
    assert_eq!(terms, [old.term(), term]);
}

/// Law 2: a term that is not above every earlier one cannot be opened, also after reopening. The newest term that the refusal names may be newer
/// than the last one opened: where terms come from elections, reopening is one.
pub fn law_2_a_term_is_opened_once(subject: &mut dyn Subject) {
    let (term, _) = subject.lead(SHARD);
    for reopened in [false, true] {
        if reopened && !subject.reopen() {
            return;
        }
        for stale in [term, Term(term.0 - 1)] {
            let opened = wait(subject.log().open(SHARD, stale));
            let Err(OpenError::Fenced { shard, term: refused, newest }) = opened else {
                panic!("term {stale} was opened again: {opened:?}");
            };
            assert_eq!((shard, refused), (SHARD, stale));
            assert!(newest >= term, "{newest} is not the newest term");
        }
    }
}

/// Law 3: what `append` said is there after reopening (G1).
pub fn law_3_what_was_said_survives_reopening(subject: &mut dyn Subject) {
    let (alice, bob) = (address("account/alice"), address("account/bob"));
    let mut writer = Writer::lead(subject, SHARD);
    let mut batches = Vec::new();
    for _ in 0..5 {
        let batch = writer.batch(&[(&alice, 2), (&bob, 1)]);
        assert_eq!(wait(subject.log().append(batch.clone())), Ok(()));
        batches.push(batch);
    }
    if !subject.reopen() {
        return;
    }
    assert_eq!(read_all(subject), batches);
    let (term, opened) = subject.lead(SHARD);
    assert!(term > writer.term(), "terms rise over restarts");
    assert_eq!(opened.last, Offset(10));
    let history = subject.log().history(SHARD, &alice, SequenceNumber::ZERO, 99);
    assert_eq!(history.expect("readable").highest, SequenceNumber(10));
    assert_eq!(writer.at(term).write(subject, &[(&alice, 1)]), Ok(()));
}

/// Law 4: a batch of many parts is read whole, byte for byte (G6).
pub fn law_4_a_long_batch_is_read_whole(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).padded(70_000);
    let batch = writer.batch(&[(&alice, 3), (&alice, 1)]);
    assert_eq!(wait(subject.log().append(batch.clone())), Ok(()));
    assert_eq!(read_all(subject), std::slice::from_ref(&batch));
    if subject.reopen() {
        assert_eq!(read_all(subject), [batch]);
    }
}

/// Law 5: after any error nothing more succeeds under the same term; after opening again it does, behind what is there.
pub fn law_5_an_error_is_sticky_until_the_next_open(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
    let before = writer.clone();
    let _skipped = writer.batch(&[(&alice, 1)]);
    let gap = writer.write(subject, &[(&alice, 1)]);
    assert!(matches!(gap, Err(AppendError::Gap { .. })), "{gap:?}");
    let fitting = before.clone().write(subject, &[(&alice, 1)]);
    assert!(fitting.is_err(), "an append after a failed one");
    assert!(wait(subject.log().confirm(SHARD, before.term())).is_err());
    let (term, opened) = subject.lead(SHARD);
    assert_eq!(opened.last, Offset(1));
    assert_eq!(before.at(term).write(subject, &[(&alice, 1)]), Ok(()));
}

/// Law 5: when a write fails, those in flight behind it fail too, and the next open tells which are there.
pub fn law_5_batches_behind_a_failed_one_fail_too(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
    if !subject.break_next_append(SHARD) {
        return;
    }
    let log = subject.log();
    let pending: Vec<_> = (0..5).map(|_| log.append(writer.batch(&[(&alice, 1)]))).collect();
    for outcome in pending {
        let outcome = wait(outcome);
        assert!(matches!(outcome, Err(AppendError::Unknown { .. })), "{outcome:?}");
    }
    subject.heal();
    let (_, opened) = subject.lead(SHARD);
    assert!((Offset(1)..=Offset(6)).contains(&opened.last), "{opened:?}");
    assert_eq!(read_all(subject).last().map(Batch::last), Some(opened.last));
    let history = subject.log().history(SHARD, &alice, SequenceNumber::ZERO, 99);
    assert_eq!(history.expect("readable").head, opened.last);
}

/// Law 6: a read, a history, `last_offset` and a follower that come after the acknowledgement see the batch.
pub fn law_6_reads_and_followers_see_what_was_said(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    let log = subject.log();
    let waiting = log.follow(SHARD, Offset::ZERO);
    for step in 1..=50 {
        assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
        assert_eq!(log.last_offset(SHARD), Ok(Offset(step)));
        assert_eq!(log.read(SHARD, Offset(step), 1).map(|batches| batches.len()), Ok(1));
        let history = log.history(SHARD, &alice, SequenceNumber(step - 1), 9).expect("readable");
        assert_eq!((history.head, history.records.len()), (Offset(step), 1));
        assert_eq!(wait(log.follow(SHARD, Offset(step - 1))), Ok(Offset(step)));
    }
    assert!(wait(waiting).is_ok_and(|offset| offset > Offset::ZERO));
    let follower = std::thread::scope(|scope| {
        let follower = log.follow(SHARD, Offset(50));
        let follower = scope.spawn(|| wait(follower));
        assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
        follower.join().expect("the follower does not panic")
    });
    assert_eq!(follower, Ok(Offset(51)));
}

/// Law 7: reading from any offset begins with the batch that holds it, goes on without a gap, and stops near the byte limit.
pub fn law_7_reading_is_bounded_and_never_skips(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).padded(1_000);
    for _ in 0..10 {
        assert_eq!(writer.write(subject, &[(&alice, 1), (&alice, 1), (&alice, 1)]), Ok(()));
    }
    let log = subject.log();
    for from in 1..=30 {
        let batches = log.read(SHARD, Offset(from), 7_000).expect("readable");
        assert!(batches[0].first() <= Offset(from) && Offset(from) <= batches[0].last());
        assert!(batches.windows(2).all(|pair| pair[1].first() == pair[0].last().next()));
        let remaining = usize::try_from(10 - (from - 1) / 3).expect("small");
        assert_eq!(batches.len(), remaining.min(3), "7,000 bytes are reached by the third batch");
    }
    assert_eq!(log.read(SHARD, Offset(31), 1), Ok(Vec::new()), "beyond the end is no error");
}

/// Law 8: the history of an entity is its own records in offset order without a gap, whatever stands between them.
pub fn law_8_chains_are_followed_through_interleaved_entities(subject: &mut dyn Subject) {
    let (alice, bob) = (address("account/alice"), address("account/bob"));
    let mut writer = Writer::lead(subject, SHARD);
    for round in 0..12 {
        let events = round % 3;
        assert_eq!(writer.write(subject, &[(&alice, 1), (&bob, events), (&alice, 2)]), Ok(()));
    }
    for reopened in [false, true] {
        if reopened && !subject.reopen() {
            return;
        }
        let log = subject.log();
        let all = log.history(SHARD, &alice, SequenceNumber::ZERO, 99).expect("readable");
        let offsets: Vec<u64> = all.records.iter().map(|record| record.offset.0).collect();
        let expected: Vec<u64> = (0..12).flat_map(|round| [round * 3 + 1, round * 3 + 3]).collect();
        assert_eq!(offsets, expected);
        assert_eq!((all.highest, all.more), (SequenceNumber(36), false));
        let page = log.history(SHARD, &alice, SequenceNumber(4), 3).expect("readable");
        let offsets: Vec<u64> = page.records.iter().map(|record| record.offset.0).collect();
        assert_eq!(offsets, [6, 7, 9], "events 5 to 9, oldest first");
        assert!(page.more);
        let none = log.history(SHARD, &alice, SequenceNumber(36), 3).expect("readable");
        assert_eq!((none.records.len(), none.head, none.more), (0, Offset(36), false));
    }
}

/// Law 8: a page of a history is bounded by its bytes too, and has one record at least.
pub fn law_8_a_page_of_a_history_is_bounded_by_its_bytes(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).padded(HISTORY_BYTES * 2 / 5);
    for events in [1, 1, 1, 3, 1] {
        assert_eq!(writer.write(subject, &[(&alice, events)]), Ok(()));
    }
    let log = subject.log();
    let page = |after: u64| {
        let page = log.history(SHARD, &alice, SequenceNumber(after), 99).expect("readable");
        (page.records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(0), (vec![1, 2], true));
    assert_eq!(page(2), (vec![3], true), "the next one is longer than a page by itself");
    assert_eq!(page(3), (vec![4], true));
    assert_eq!(page(6), (vec![5], false));
}

/// Law 8: behind an offset come also the records without events, because their answers belong to the idempotency window (G2).
pub fn law_8_records_without_events_belong_to_the_chain(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    let commands = [(&alice, 0), (&alice, 1), (&alice, 0), (&alice, 0), (&alice, 1), (&alice, 0)];
    assert_eq!(writer.write(subject, &commands), Ok(()));
    let log = subject.log();
    let after = |offset| {
        let history = log.records_after(SHARD, &alice, Offset(offset), 99).expect("readable");
        history.records.iter().map(|record| record.offset.0).collect::<Vec<_>>()
    };
    assert_eq!(after(0), [1, 2, 3, 4, 5, 6]);
    assert_eq!(after(2), [3, 4, 5, 6]);
    assert_eq!(after(5), [6]);
    assert_eq!(after(6), [] as [u64; 0]);
    let page = log.records_after(SHARD, &alice, Offset(1), 2).expect("readable");
    assert_eq!((page.records[0].offset, page.records.len(), page.more), (Offset(2), 2, true));
}

/// Law 9: deleting every snapshot changes no history.
pub fn law_9_histories_do_not_depend_on_snapshots(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    assert_eq!(writer.write(subject, &[(&alice, 2), (&alice, 1)]), Ok(()));
    let log = subject.log();
    let before = log.history(SHARD, &alice, SequenceNumber::ZERO, 9);
    let snapshot = super::snapshot_laws::snapshot(3, 100, b"state");
    assert_eq!(log.save_snapshot(SHARD, &alice, snapshot, 2), Ok(()));
    assert_eq!(log.history(SHARD, &alice, SequenceNumber::ZERO, 9), before);
    assert_eq!(log.delete_snapshots(SHARD, &alice, SnapshotCriteria::default()), Ok(()));
    assert_eq!(log.history(SHARD, &alice, SequenceNumber::ZERO, 9), before);
}

fn read_all(subject: &dyn Subject) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let from = batches.last().map_or(Offset(1), |batch| batch.last().next());
        let more = subject.log().read(SHARD, from, 10_000).expect("the log is readable");
        if more.is_empty() {
            return batches;
        }
        batches.extend(more);
    }
}
