//! The journal rules: the log seen as one entity's history, event by event, through [`entity_events`].
//!
//! Five events are written in three records of two, one and two events with a refused command between them, because in Holm the unit of the
//! log is the command. A completion's "highest number" is [`EntityEvents::highest`].

use holm_core::{CausationId, CorrelationId, EntityAddress, Offset, SequenceNumber, Timestamp};

use super::{Check, SHARD, Subject, Writer, address, list_checks, payload_of, wait};
use crate::batch::BatchBuilder;
use crate::codec::MAX_ENCODED_BYTES;
use crate::entity_events::{EntityEvents, entity_events};
use crate::record::{Record, StoredEvent, StoredVerdict};
use crate::shard_log::ReadError;

/// The checks of this module.
pub const CHECKS: &[Check] = list_checks![
    law_j1_to_j11_windows_of_a_history,
    law_j12_j15_j18_trimmed_events_are_gone,
    law_j12_trimming_is_never_silent_for_recovery,
    law_j19_an_event_that_cannot_be_stored_is_rejected_alone,
    law_j20_j21_events_and_their_metadata_come_back,
    law_j22_the_events_of_a_command_come_together,
];

/// Laws J1 to J11: windows by lower bound, upper bound and count, alone and together; each answer carries the highest STORED number, also
/// when nothing is returned; an id that never wrote has none and that is no error.
pub fn law_j1_to_j11_windows_of_a_history(subject: &mut dyn Subject) {
    let alice = write_five(subject);
    let all = u64::MAX;
    let windows: [(&str, u64, u64, usize, &[u64]); 10] = [
        ("J1", 1, all, usize::MAX, &[1, 2, 3, 4, 5]),
        ("J2", 3, all, usize::MAX, &[3, 4, 5]),
        ("J3", 1, 3, usize::MAX, &[1, 2, 3]),
        ("J4", 1, all, 3, &[1, 2, 3]),
        ("J5", 2, 3, usize::MAX, &[2, 3]),
        ("J6", 2, 5, 2, &[2, 3]),
        ("J7", 2, 2, usize::MAX, &[2]),
        ("J8", 2, 4, 1, &[2]),
        ("J9", 1, all, 0, &[]),
        ("J10", 3, 2, usize::MAX, &[]),
    ];
    for (law, from, to, max, expected) in windows {
        let found = events(subject, &alice, from, to, max);
        assert_eq!(
            (numbers(&found), found.highest),
            (expected.to_vec(), SequenceNumber(5)),
            "{law}"
        );
    }
    let nobody = events(subject, &address("account/nobody"), 1, all, usize::MAX);
    assert_eq!(nobody, EntityEvents::default(), "J11");
}

/// Laws J12, J15, J18: after trimming up to 3, replay from 1 and from 3 gives 4 and 5, and the window 1 to 4 gives 4; the trim is acknowledged once.
pub fn law_j12_j15_j18_trimmed_events_are_gone(subject: &mut dyn Subject) {
    let alice = write_five(subject);
    let trimmed = wait(subject.log().trim(SHARD, &alice, SequenceNumber(3)));
    assert_eq!(trimmed, Ok(()));
    for reopened in [false, true] {
        if reopened && !subject.reopen() {
            return;
        }
        for (law, from, to, expected) in
            [("J12", 1, u64::MAX, &[4, 5][..]), ("J15", 3, u64::MAX, &[4, 5]), ("J18", 1, 4, &[4])]
        {
            let found = events(subject, &alice, from, to, usize::MAX);
            assert_eq!((numbers(&found), found.highest.0), (expected.to_vec(), 5), "{law}");
        }
    }
}

/// Law J12, stricter than the rule: a recovery that would silently begin in the middle of a history gets an error instead, because state
/// without the trimmed events is wrong. From the trimmed number on, and behind a snapshot, history is whole and readable.
pub fn law_j12_trimming_is_never_silent_for_recovery(subject: &mut dyn Subject) {
    let alice = write_five(subject);
    assert_eq!(wait(subject.log().trim(SHARD, &alice, SequenceNumber(3))), Ok(()));
    // Trimming less than before changes nothing.
    assert_eq!(wait(subject.log().trim(SHARD, &alice, SequenceNumber(1))), Ok(()));
    let log = subject.log();
    let expected =
        ReadError::Trimmed { shard: SHARD, address: alice.clone(), trimmed: SequenceNumber(3) };
    assert_eq!(log.history(SHARD, &alice, SequenceNumber(1), 9), Err(expected.clone()));
    assert_eq!(log.records_after(SHARD, &alice, Offset::ZERO, 9), Err(expected));
    let rest = log.history(SHARD, &alice, SequenceNumber(3), 9).expect("readable");
    assert_eq!(rest.records.len(), 1);
    assert_eq!(
        log.records_after(SHARD, &alice, rest.records[0].offset, 9).map(|h| h.more),
        Ok(false)
    );
}

/// Law J19: a record that is too long to be read back is rejected when the batch is built, surely not stored; its neighbours are.
pub fn law_j19_an_event_that_cannot_be_stored_is_rejected_alone(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD);
    let mut builder = BatchBuilder::new(SHARD, writer.term(), Offset(1));
    let whole = writer.batch(&[(&alice, 1), (&alice, 1)]);
    let endless = vec![0; MAX_ENCODED_BYTES];
    for stored in whole.records() {
        let mut record = stored.decode().expect("well formed");
        assert_eq!(builder.push(&record), Ok(stored.offset));
        let length = builder.len();
        record.events = vec![StoredEvent { name: "Endless", schema_version: 1, payload: &endless }];
        assert!(builder.push(&record).is_err());
        assert_eq!(builder.len(), length, "the batch is as before");
    }
    assert_eq!(wait(subject.log().append(builder.finish())), Ok(()));
    let found = events(subject, &alice, 1, u64::MAX, usize::MAX);
    assert_eq!(numbers(&found), [1, 2]);
}

/// Laws J20 and J21: event, name, schema version and all metadata of the command come back as they were written.
pub fn law_j20_j21_events_and_their_metadata_come_back(subject: &mut dyn Subject) {
    let alice = write_five(subject);
    for event in events(subject, &alice, 1, u64::MAX, usize::MAX).events {
        assert_eq!(event.payload, payload_of(&alice, event.sequence));
        assert_eq!((&*event.name, event.schema_version), ("Counted", 3));
        assert_eq!(event.at, Timestamp::from_millis(1_000 + event.offset.0));
    }
    let log = subject.log();
    let history = log.history(SHARD, &alice, SequenceNumber::ZERO, 9).expect("readable");
    for stored in &history.records {
        let record: Record<'_> = stored.decode().expect("well formed");
        let number = u128::from(stored.offset.0);
        assert_eq!((record.command, record.id.0), ("count", number));
        assert_eq!(record.correlation, CorrelationId(number + 1));
        assert_eq!(record.causation, CausationId(number + 2));
        assert_eq!(record.key.to_string(), format!("key-{}", stored.offset));
        assert_eq!(record.fingerprint, stored.offset.0 ^ 0xABCD);
        let refused = matches!(record.verdict, StoredVerdict::Rejected(b"refused"));
        assert_eq!(refused, record.events.is_empty());
    }
}

/// Law J22: the events of one command are one record, so every reader sees all of them or none.
pub fn law_j22_the_events_of_a_command_come_together(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).padded(20_000);
    assert_eq!(writer.write(subject, &[(&alice, 7)]), Ok(()));
    let log = subject.log();
    let history = log.history(SHARD, &alice, SequenceNumber(3), 9).expect("readable");
    assert_eq!(history.records.len(), 1);
    let record = history.records[0].decode().expect("well formed");
    assert_eq!((record.base, record.events.len()), (SequenceNumber::ZERO, 7));
}

fn write_five(subject: &mut dyn Subject) -> EntityAddress {
    let (alice, bob) = (address("account/alice"), address("account/bob"));
    let mut writer = Writer::lead(subject, SHARD);
    assert_eq!(writer.write(subject, &[(&alice, 2), (&bob, 1), (&alice, 0)]), Ok(()));
    assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
    assert_eq!(writer.write(subject, &[(&bob, 3), (&alice, 2)]), Ok(()));
    alice
}

fn events(
    subject: &dyn Subject,
    address: &EntityAddress,
    from: u64,
    to: u64,
    max: usize,
) -> EntityEvents {
    let (from, to) = (SequenceNumber(from), SequenceNumber(to));
    entity_events(&*subject.log(), SHARD, address, from, to, max).expect("the log is readable")
}

fn numbers(events: &EntityEvents) -> Vec<u64> {
    events.events.iter().map(|event| event.sequence.0).collect()
}
