//! Histories that hold, and each way in which one can be broken: the audit must see every one of them.

use super::*;

fn told(key: &str, seq: u64, shard: u32, offset: u64, balance: u64) -> Entry {
    entry(
        key,
        Told::Accepted(Acknowledged {
            seq,
            shard,
            offset,
            balance: Some(balance),
            replayed: false,
            served_by: String::new(),
        }),
    )
}

fn entry(key: &str, told: Told) -> Entry {
    Entry {
        entity: "account/a".into(),
        command: "deposit".into(),
        key: key.into(),
        amount: 10,
        sent_us: 0,
        at_us: 0,
        told,
    }
}

fn record(key: &str, offset: u64, base: u64) -> SeenRecord {
    SeenRecord {
        shard: 1,
        offset,
        entity: "account/a".into(),
        base,
        events: 1,
        key: key.into(),
        change: 10,
    }
}

fn audit(entries: Vec<Entry>, records: Vec<SeenRecord>) -> Verdict {
    let mut audit = Audit::new();
    entries.into_iter().for_each(|entry| audit.expect(entry));
    records.into_iter().for_each(|record| audit.see(record));
    audit.finish()
}

fn three() -> (Vec<Entry>, Vec<SeenRecord>) {
    (
        vec![told("a", 1, 1, 1, 10), told("b", 2, 1, 2, 20), told("c", 3, 1, 3, 30)],
        vec![record("a", 1, 0), record("b", 2, 1), record("c", 3, 2)],
    )
}

#[test]
fn a_whole_history_holds() {
    let (entries, records) = three();
    let verdict = audit(entries, records);
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.acknowledged, verdict.read_back, verdict.total_balance), (3, 3, 30));
}

#[test]
fn a_lost_tail_is_missing() {
    let (entries, mut records) = three();
    records.pop();
    let verdict = audit(entries, records);
    assert_eq!((verdict.missing, verdict.gaps, verdict.holds()), (1, 0, false));
    assert!(
        matches!(&verdict.problems[..], [Problem::Missing { key, offset: 3, .. }] if key == "c")
    );
}

#[test]
fn a_hole_in_the_middle_is_missing_and_a_gap() {
    let (entries, mut records) = three();
    records.remove(1);
    let verdict = audit(entries, records);
    // The hole shows in the offsets, in the entity's numbers and in the balance after it.
    assert_eq!((verdict.missing, verdict.gaps, verdict.balances), (1, 2, 1));
}

#[test]
fn a_key_that_took_effect_twice_is_doubled() {
    let (entries, mut records) = three();
    records.push(record("b", 4, 3));
    let verdict = audit(entries, records);
    assert_eq!((verdict.doubled, verdict.missing, verdict.gaps), (1, 0, 0));
    assert!(matches!(verdict.problems[..], [Problem::Doubled { first: 2, second: 4, .. }]));
}

#[test]
fn a_repeated_offset_is_a_gap() {
    let (entries, mut records) = three();
    records[2].offset = 2;
    let verdict = audit(entries, records);
    assert_eq!((verdict.gaps, verdict.altered), (1, 1));
}

#[test]
fn a_skipped_sequence_number_is_a_gap() {
    let (entries, mut records) = three();
    records[2].base = 3;
    let verdict = audit(entries, records);
    assert_eq!((verdict.gaps, verdict.altered), (1, 1));
}

#[test]
fn another_place_than_told_is_altered() {
    let (mut entries, records) = three();
    entries[0] = told("a", 1, 1, 9, 10);
    let verdict = audit(entries, records);
    assert_eq!((verdict.altered, verdict.missing, verdict.holds()), (1, 0, false));
}

#[test]
fn a_wrong_balance_is_seen() {
    let (entries, mut records) = three();
    records[1].change = 11;
    assert_eq!(audit(entries, records).balances, 2);
}

#[test]
fn an_unknown_outcome_may_go_either_way() {
    let (mut entries, records) = three();
    entries[2] = entry("c", Told::Unknown { error: "lost".into() });
    entries.push(entry("d", Told::Unknown { error: "lost".into() }));
    let verdict = audit(entries, records);
    assert!(verdict.holds());
    assert_eq!((verdict.unknown_applied, verdict.unknown_absent, verdict.acknowledged), (1, 1, 2));
}

#[test]
fn an_unknown_outcome_may_not_take_effect_twice() {
    let (mut entries, mut records) = three();
    entries[2] = entry("c", Told::Unknown { error: "lost".into() });
    records.push(record("c", 4, 3));
    assert_eq!(audit(entries, records).doubled, 1);
}

#[test]
fn surely_not_applied_must_not_be_there() {
    let (mut entries, records) = three();
    entries[2] = entry("c", Told::NotApplied { error: "overloaded".into() });
    assert_eq!(audit(entries, records).altered, 1);
}

#[test]
fn an_answer_outweighs_an_unknown_outcome_of_the_same_key() {
    let mut entries = three().0;
    entries.push(entry("c", Told::Unknown { error: "lost".into() }));
    let verdict = audit(entries, three().1[..2].to_vec());
    assert_eq!((verdict.missing, verdict.unknown_absent), (1, 0));
}

#[test]
fn only_the_first_hundred_problems_are_listed() {
    let entries = (1..=250).map(|n| told(&n.to_string(), n, 1, n, n * 10)).collect();
    let verdict = audit(entries, Vec::new());
    assert_eq!((verdict.missing, verdict.problems.len()), (250, 100));
}

#[test]
fn a_refusal_that_stored_events_is_altered_and_one_that_is_gone_is_missing() {
    let (mut entries, records) = three();
    entries[1] = entry("b", Told::Refused);
    entries.push(entry("x", Told::Refused));
    let verdict = audit(entries, records);
    assert_eq!((verdict.altered, verdict.missing), (1, 1));
    let mut refused = record("r", 1, 0);
    (refused.events, refused.change) = (0, 0);
    assert!(audit(vec![entry("r", Told::Refused)], vec![refused]).holds());
}

#[test]
fn a_run_that_goes_on_is_judged_again_without_being_read_again() {
    let (entries, records) = three();
    let mut audit = Audit::new();
    for (entry, record) in entries.into_iter().zip(records) {
        audit.expect(entry);
        assert_eq!(audit.verdict().missing, 1, "its record was not seen yet");
        audit.see(record);
        assert!(audit.verdict().holds());
    }
    assert_eq!((audit.verdict().read_back, audit.seen_to(1)), (3, 3));
}

#[test]
fn a_record_may_be_seen_before_its_line() {
    let (mut entries, records) = three();
    let mut audit = Audit::new();
    records.into_iter().for_each(|record| audit.see(record));
    entries.insert(0, entry("a", Told::Unknown { error: "lost".into() }));
    entries[3] = told("c", 3, 1, 3, 31);
    entries.into_iter().for_each(|entry| audit.expect(entry));
    let verdict = audit.finish();
    assert_eq!((verdict.read_back, verdict.balances, verdict.unknown_applied), (2, 1, 0));
}

#[test]
fn a_read_leaves_no_record() {
    let (mut entries, records) = three();
    entries.push(Entry { command: "balance".into(), ..told("r", 3, 1, 3, 30) });
    assert!(audit(entries, records).holds());
}
