//! The snapshot rules: five snapshots at 11 to 15, taken a second apart.

use bytes::Bytes;
use holm_core::{EntityAddress, Offset, SequenceNumber, Timestamp};

use super::{Check, OTHER_SHARD, SHARD, Subject, Writer, address, list_checks, wait};
use crate::shard_log::{Snapshot, SnapshotCriteria};

/// The checks of this module.
pub const CHECKS: &[Check] = list_checks![
    law_n1_an_unknown_id_has_no_snapshot,
    law_n2_to_n6_criteria_choose,
    law_n7_one_snapshot_can_be_deleted,
    law_n10_the_same_number_overwrites,
    law_n11_long_snapshots_are_storable,
    law_n12_everything_about_a_snapshot_comes_back,
    law_n16_ids_that_begin_alike_do_not_mix,
    law_n17_a_snapshot_needs_no_events,
    law_t9_only_the_newest_are_kept,
    law_t10_where_one_is_kept_it_is_the_newest,
];

const KEEP: usize = 10;

/// Law N1: an unknown id has no snapshot, and that is no error.
pub fn law_n1_an_unknown_id_has_no_snapshot(subject: &mut dyn Subject) {
    assert_eq!(load(subject, &address("account/nobody"), SnapshotCriteria::default()), None);
}

/// Laws N2 to N6: bounds by number and time choose the newest that meets all of them, or none.
pub fn law_n2_to_n6_criteria_choose(subject: &mut dyn Subject) {
    let alice = save_five(subject);
    let all = SnapshotCriteria::default();
    let up_to = |number| SnapshotCriteria { max_sequence: Some(SequenceNumber(number)), ..all };
    let until = |millis| Some(Timestamp::from_millis(millis));
    for (law, criteria, expected) in [
        ("N2", SnapshotCriteria { max_at: until(10_000), ..all }, None),
        ("N3", up_to(7), None),
        ("N4", all, Some(15)),
        ("N5", up_to(13), Some(13)),
        ("N6", SnapshotCriteria { max_at: until(12_500), ..up_to(13) }, Some(12)),
        ("N6", SnapshotCriteria { min_sequence: Some(SequenceNumber(14)), ..up_to(13) }, None),
    ] {
        assert_eq!(load(subject, &alice, criteria), expected, "{law}");
    }
}

/// Law N7: deleting one snapshot by its number removes just that one.
pub fn law_n7_one_snapshot_can_be_deleted(subject: &mut dyn Subject) {
    let alice = save_five(subject);
    let thirteen = Some(SequenceNumber(13));
    let only = SnapshotCriteria { min_sequence: thirteen, max_sequence: thirteen, max_at: None };
    assert_eq!(subject.log().delete_snapshots(SHARD, &alice, only), Ok(()));
    let bounded = SnapshotCriteria { max_sequence: thirteen, ..SnapshotCriteria::default() };
    assert_eq!(load(subject, &alice, bounded), Some(12));
    assert_eq!(load(subject, &alice, SnapshotCriteria::default()), Some(15));
    let all = SnapshotCriteria::default();
    assert_eq!(subject.log().delete_snapshots(SHARD, &alice, all), Ok(()));
    assert_eq!(load(subject, &alice, all), None);
}

/// Law N10: saving at the same number again overwrites, also when the new one is shorter.
pub fn law_n10_the_same_number_overwrites(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    for payload in [&vec![7; 100_000][..], b"new"] {
        let saved = subject.log().save_snapshot(SHARD, &alice, snapshot(3, 9, payload), KEEP);
        assert_eq!(saved, Ok(()));
        let found = subject.log().load_snapshot(SHARD, &alice, SnapshotCriteria::default());
        assert_eq!(found, Ok(Some(snapshot(3, 9, payload))));
    }
}

/// Law N11: 10,000 bytes are storable, and so are a megabyte and nothing at all.
pub fn law_n11_long_snapshots_are_storable(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    for (number, length) in [(1, 0), (2, 10_000), (3, 32 * 1024), (4, 1_000_000)] {
        let long = snapshot(number, 1, &vec![number as u8; length]);
        assert_eq!(subject.log().save_snapshot(SHARD, &alice, long.clone(), KEEP), Ok(()));
        let found = subject.log().load_snapshot(SHARD, &alice, SnapshotCriteria::default());
        assert_eq!(found, Ok(Some(long)), "{length} bytes");
    }
}

/// Law N12: number, offset, time and payload come back as they were saved, also after reopening in an orderly way.
pub fn law_n12_everything_about_a_snapshot_comes_back(subject: &mut dyn Subject) {
    let alice = save_five(subject);
    for reopened in [false, true] {
        if reopened && !subject.reopen() {
            return;
        }
        let found = subject.log().load_snapshot(SHARD, &alice, SnapshotCriteria::default());
        assert_eq!(found, Ok(Some(snapshot(15, 15_000, b"state 15"))));
    }
}

/// Law N16: an id that is the beginning of another, and the same id in another shard, have snapshots of their own.
pub fn law_n16_ids_that_begin_alike_do_not_mix(subject: &mut dyn Subject) {
    let (short, long) = (address("account/a"), address("account/ab"));
    let all = SnapshotCriteria::default();
    assert_eq!(subject.log().save_snapshot(SHARD, &long, snapshot(5, 1, b"long"), KEEP), Ok(()));
    assert_eq!(load(subject, &short, all), None);
    assert_eq!(load(subject, &address("accounts/ab"), all), None);
    assert_eq!(subject.log().load_snapshot(OTHER_SHARD, &long, all), Ok(None));
    assert_eq!(subject.log().save_snapshot(SHARD, &short, snapshot(7, 1, b"short"), 1), Ok(()));
    assert_eq!(subject.log().delete_snapshots(SHARD, &short, all), Ok(()));
    assert_eq!(load(subject, &long, all), Some(5));
}

/// Law N17: a snapshot without events is loaded like any other; the history behind it is empty.
pub fn law_n17_a_snapshot_needs_no_events(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let _writer = Writer::lead(subject, SHARD);
    assert_eq!(subject.log().save_snapshot(SHARD, &alice, snapshot(17, 1, b"state"), KEEP), Ok(()));
    assert_eq!(load(subject, &alice, SnapshotCriteria::default()), Some(17));
    let history = subject.log().records_after(SHARD, &alice, Offset(17), 9).expect("readable");
    assert!(history.records.is_empty());
}

/// Law T9, the store's part: with keep N the N newest stay, and one older than all of them does not push a newer one out.
pub fn law_t9_only_the_newest_are_kept(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    for number in [2, 4, 6, 1] {
        let saved = subject.log().save_snapshot(SHARD, &alice, snapshot(number, 1, b""), 2);
        assert_eq!(saved, Ok(()));
    }
    let bounded = |max| SnapshotCriteria {
        max_sequence: Some(SequenceNumber(max)),
        ..SnapshotCriteria::default()
    };
    assert_eq!(load(subject, &alice, bounded(9)), Some(6));
    assert_eq!(load(subject, &alice, bounded(5)), Some(4));
    assert_eq!(load(subject, &alice, bounded(3)), None);
}

/// Law T10: where one is kept, it is the newest, without anybody sending a delete; and the events can be trimmed up to it all the same.
pub fn law_t10_where_one_is_kept_it_is_the_newest(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    for number in 1..=4 {
        assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
        let saved = subject.log().save_snapshot(SHARD, &alice, snapshot(number, 1, b""), 1);
        assert_eq!(saved, Ok(()));
    }
    let before = SnapshotCriteria { max_sequence: Some(SequenceNumber(3)), ..Default::default() };
    assert_eq!(load(subject, &alice, before), None);
    assert_eq!(load(subject, &alice, SnapshotCriteria::default()), Some(4));
    assert_eq!(wait(subject.log().trim(SHARD, &alice, SequenceNumber(3))), Ok(()));
    let history = subject.log().history(SHARD, &alice, SequenceNumber(3), usize::MAX);
    assert_eq!(history.expect("readable").records.len(), 1);
    assert_eq!(load(subject, &alice, SnapshotCriteria::default()), Some(4));
}

pub(super) fn snapshot(number: u64, at_millis: u64, payload: &[u8]) -> Snapshot {
    Snapshot {
        sequence: SequenceNumber(number),
        offset: Offset(number),
        at: Timestamp::from_millis(at_millis),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn save_five(subject: &dyn Subject) -> EntityAddress {
    let alice = address("account/alice");
    for number in 11..=15 {
        let payload = format!("state {number}");
        let saved = snapshot(number, number * 1_000, payload.as_bytes());
        assert_eq!(subject.log().save_snapshot(SHARD, &alice, saved, KEEP), Ok(()));
    }
    alice
}

fn load(subject: &dyn Subject, address: &EntityAddress, criteria: SnapshotCriteria) -> Option<u64> {
    let loaded = subject.log().load_snapshot(SHARD, address, criteria);
    loaded.expect("snapshots are readable").map(|snapshot| snapshot.sequence.0)
}
