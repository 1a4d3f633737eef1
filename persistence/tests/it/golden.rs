//! Golden files: what format 1 stored stays readable, byte for byte.
//!
//! The constants were written by the first version of the format. They never change; a new format gets constants of its own.

use holm_core::{Offset, SequenceNumber, ShardId, Term, Timestamp};
use holm_persistence::{Batch, StoredReaction, StoredVerdict};

/// A batch of two records of `account/alice`: two events with an answer, then a rejection.
const BATCH_1: &str = "
    01000000180000000700000000000000290000000000000002000000bb00000091bea40c60000000
    076163636f756e7405616c6963650cfb2c01fd7b68e5cf8b010000076465706f736974fe00000000
    000000000000000010000000020301076f726465722d39fcefbeedfe02094465706f736974656401
    0105054e6f746564fb2c01000002ff0053000000076163636f756e7405616c69636529fb2e01fd7b
    68e5cf8b010000087769746864726177fe00000000000000000000000010000000020300feefcdab
    8967452301efcdab8967452301fcefbeedfe0001026e6f
";

/// A batch of two records of `transfer/t-1`: one with two reactions, then one without.
const BATCH_1_WITH_REACTIONS: &str = "
    01010000030000000200000000000000070000000000000002000000c2000000fbad3bbe8d000000
    087472616e7366657203742d310000fd7b68e5cf8b0100000573746172740909090103742d314d01
    0753746172746564010105000002076163636f756e7405616c696365087769746864726177010500
    01196163636f756e742e77697468647261772e616e737765726564087472616e7366657203742d31
    08646561646c696e650001fdabdde5cf8b010000002d000000087472616e7366657203742d310701
    fd7b68e5cf8b01000008646561646c696e650909090103742d324d000000
";

#[test]
fn a_batch_of_format_1_stays_readable() {
    let bytes = unhex(BATCH_1);
    let batch = Batch::parse(bytes.into()).unwrap();
    assert_eq!((batch.shard(), batch.term()), (ShardId(24), Term(7)));
    assert_eq!((batch.first(), batch.last()), (Offset(41), Offset(42)));
    let stored: Vec<_> = batch.records().collect();
    let first = stored[0].decode().unwrap();
    assert_eq!(
        (first.entity_type, first.entity_id, first.command),
        ("account", "alice", "deposit")
    );
    assert_eq!((first.previous, first.base), (Offset(12), SequenceNumber(300)));
    assert_eq!(first.at, Timestamp::from_millis(1_700_000_000_123));
    assert_eq!((first.id.0, first.correlation.0, first.causation.0), (1 << 100, 2, 3));
    assert_eq!((first.key.to_string().as_str(), first.fingerprint), ("order-9", 0xFEED_BEEF));
    let events: Vec<_> = first
        .events
        .iter()
        .map(|event| (event.name, event.schema_version, event.payload))
        .collect();
    assert_eq!(events, [("Deposited", 1, &b"\x05"[..]), ("Noted", 300, b"")]);
    assert_eq!(first.verdict, StoredVerdict::Accepted(b"\xFF\x00"));
    let second = stored[1].decode().unwrap();
    assert_eq!((second.previous, second.base), (Offset(41), SequenceNumber(302)));
    assert_eq!(second.key.to_string(), "k-0123456789abcdef0123456789abcdef");
    assert!(second.events.is_empty());
    assert_eq!(second.verdict, StoredVerdict::Rejected(b"no"));
}

/// Promise G6: reactions stand in the record of their command, behind everything that older records have, and the batch says that there are some.
#[test]
fn a_batch_of_format_1_with_reactions_stays_readable() {
    let batch = Batch::parse(unhex(BATCH_1_WITH_REACTIONS).into()).unwrap();
    assert!(batch.has_reactions());
    assert!(!Batch::parse(unhex(BATCH_1).into()).unwrap().has_reactions());
    let stored = batch.record(Offset(7)).unwrap();
    let record = stored.decode().unwrap();
    assert_eq!((record.entity_type, record.entity_id), ("transfer", "t-1"));
    let withdraw = StoredReaction {
        entity_type: "account",
        entity_id: "alice",
        command: "withdraw",
        payload: b"\x05",
        due: None,
        answered: Some("account.withdraw.answered"),
    };
    let deadline = StoredReaction {
        entity_type: "transfer",
        entity_id: "t-1",
        command: "deadline",
        payload: b"",
        due: Some(Timestamp::from_millis(1_700_000_030_123)),
        answered: None,
    };
    assert_eq!(record.reactions, [withdraw, deadline]);
    let without = batch.record(Offset(8)).unwrap();
    assert!(without.decode().unwrap().reactions.is_empty());
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
