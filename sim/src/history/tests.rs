//! What a history keeps, and that it survives its file.

use bytes::Bytes;
use holm_core::{
    Answer, AskError, CausationId, CommandId, CorrelationId, Limit, Offset, Outcome,
    SequenceNumber, ShardId, Term, Timestamp, Verdict,
};
use holm_persistence::{BatchBuilder, Record, StoredEvent, StoredVerdict};

use super::*;

fn call(payload: &[u8]) -> Call {
    Call {
        client: 1,
        asked: NodeId(2),
        entity: "account/alice".parse().unwrap(),
        command: "deposit".into(),
        reads: false,
        key: "k1".parse().unwrap(),
        fingerprint: Some(Call::fingerprint_of("deposit", payload)),
        payload: Content::of(payload),
        invoked: Moment(10),
        deadline: Moment(99),
    }
}

fn answer() -> Answer {
    Answer {
        verdict: Verdict::Accepted(Bytes::from_static(b"\x07")),
        sequence: SequenceNumber(1),
        shard: ShardId(3),
        offset: Offset(1),
        replayed: false,
        served_by: NodeId(2),
    }
}

fn batch() -> Batch {
    let mut batch = BatchBuilder::new(ShardId(3), Term(4), Offset(1));
    batch
        .push(&Record {
            entity_type: "account",
            entity_id: "alice",
            previous: Offset::ZERO,
            base: SequenceNumber::ZERO,
            at: Timestamp::from_millis(5),
            command: "deposit",
            id: CommandId(1),
            correlation: CorrelationId(1),
            causation: CausationId(1),
            key: "k1".parse().unwrap(),
            fingerprint: 9,
            events: vec![StoredEvent { name: "Deposited", schema_version: 1, payload: b"\xff" }],
            verdict: StoredVerdict::Accepted(b"\x07"),
            reactions: Vec::new(),
        })
        .unwrap();
    batch.finish()
}

fn history() -> History {
    let mut history = History::default();
    let told = [
        Told::of(&Ok(answer())),
        Told::of(&Err(AskError::Overloaded { limit: Limit::MailboxCapacity, allowed: 8 })),
        Told::of(&Err(AskError::Interrupted { reason: "deposed".into() })),
    ];
    for told in told {
        let id = history.begin(call(b"x")).unwrap();
        history.complete(id, Moment(20), told);
    }
    history.begin(call(&[0; KEPT_BYTES + 1])).unwrap();
    history.observe(NodeId(2), &batch()).unwrap();
    history
        .observe_snapshot(SeenSnapshot {
            node: NodeId(2),
            entity: "account/alice".parse().unwrap(),
            sequence: SequenceNumber(1),
            offset: Offset(1),
            at: Timestamp::from_millis(6),
            payload: Bytes::from_static(b"\x01\x02"),
        })
        .unwrap();
    history
}

#[test]
fn a_history_survives_its_file() {
    let mut file = Vec::new();
    history().write_ndjson(&mut file).unwrap();
    let read = History::read_ndjson(&file[..], HistoryLimits::default()).unwrap();
    assert_eq!(read, history());
}

#[test]
fn a_broken_line_is_named_and_never_skipped() {
    let mut file = Vec::new();
    history().write_ndjson(&mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    let torn = &text[..text.len() - 3];
    let error = History::read_ndjson(torn.as_bytes(), HistoryLimits::default()).unwrap_err();
    assert!(matches!(error, HistoryFileError::Malformed { line: 6, .. }), "{error}");
}

/// Promise G9: a history has a limit and says so.
#[test]
fn a_full_history_refuses() {
    let mut history = History::new(HistoryLimits {
        operations: 1,
        batches: 0,
        snapshots: 0,
        facts: 0,
        samples: 0,
    });
    history.begin(call(b"")).unwrap();
    let full = HistoryFull { what: "operations", allowed: 1 };
    assert_eq!(history.begin(call(b"")), Err(full));
    assert!(matches!(history.observe(NodeId(1), &batch()), Err(ObserveError::Full(_))));
}

#[test]
fn what_a_client_was_told_keeps_its_two_questions() {
    let history = history();
    let [accepted, refused, unknown, open] = history.operations() else { panic!("four") };
    assert_eq!(accepted.told.place().unwrap().sequence, SequenceNumber(1));
    assert!(refused.told.surely_not_applied() && !refused.told.is_unknown());
    assert!(matches!(&refused.told, Told::Failed { limit: Some(Limit::MailboxCapacity), .. }));
    assert!(matches!(&unknown.told, Told::Failed { effect: Outcome::Unknown, .. }));
    assert!(unknown.told.is_unknown() && open.told.is_unknown());
}

#[test]
fn long_content_is_known_by_its_digest() {
    let (short, long) = (Content::of(&[1; KEPT_BYTES]), Content::of(&[1; KEPT_BYTES + 1]));
    assert_eq!(short.bytes(), Some(&[1; KEPT_BYTES][..]));
    assert_eq!(long.bytes(), None);
    assert_ne!(long.digest, Content::of(&[2; KEPT_BYTES + 1]).digest);
}

#[test]
#[should_panic(expected = "completed twice")]
fn a_client_hears_one_thing_about_one_try() {
    let mut history = history();
    history.complete(OperationId(0), Moment(30), Told::Open);
}
