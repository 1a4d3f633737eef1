//! Histories that are linearizable, and ones that are not.

use super::*;
use crate::ledger::Acknowledged;

fn told(command: &str, (sent_us, at_us): (u64, u64), seq: u64, balance: u64) -> Entry {
    Entry {
        entity: "account/a".into(),
        command: command.into(),
        key: format!("{command}-{sent_us}"),
        amount: 10,
        sent_us,
        at_us,
        told: Told::Accepted(Acknowledged {
            seq,
            shard: 1,
            offset: seq,
            balance: Some(balance),
            replayed: false,
            served_by: String::new(),
        }),
    }
}

fn open(sent_us: u64) -> Entry {
    let told = Told::Unknown { error: "lost".into() };
    Entry { told, ..self::told("deposit", (sent_us, sent_us + 1), 0, 0) }
}

fn record(entry: &Entry, seq: u64) -> SeenRecord {
    SeenRecord {
        shard: 1,
        offset: seq,
        entity: entry.entity.clone(),
        base: seq - 1,
        events: 1,
        key: entry.key.clone(),
        change: 10,
    }
}

/// Judges a history in which the deposits were stored in the order of `stored`.
fn judge(entries: &[Entry], stored: &[&Entry]) -> OrderVerdict {
    let mut order = Order::default();
    entries.iter().for_each(|entry| order.told(entry));
    for (seq, entry) in (1..).zip(stored) {
        order.stored(&record(entry, seq));
    }
    order.judge()
}

#[test]
fn reads_between_and_beside_writes_hold() {
    let first = told("deposit", (0, 10), 1, 10);
    let second = told("deposit", (20, 30), 2, 20);
    let between = told("balance", (12, 15), 1, 10);
    let beside = [told("balance", (21, 29), 1, 10), told("balance", (22, 28), 2, 20)];
    let early = told("balance", (1, 2), 0, 0);
    let mut entries = vec![first.clone(), second.clone(), between, early];
    entries.extend(beside);
    let verdict = judge(&entries, &[&first, &second]);
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.operations, verdict.reads), (6, 4));
}

#[test]
fn a_read_of_a_deposed_owner_is_stale() {
    let write = told("deposit", (0, 10), 1, 10);
    let read = told("balance", (11, 12), 0, 0);
    let verdict = judge(&[write.clone(), read], &[&write]);
    assert_eq!((verdict.stale, verdict.untrue), (1, 0));
    assert!(matches!(verdict.problems[..], [OrderProblem::Stale { known: 1, shown: 0, .. }]));
}

#[test]
fn two_reads_may_not_go_back_in_time_even_while_the_write_is_under_way() {
    let write = told("deposit", (0, 100), 1, 10);
    let reads = [told("balance", (10, 20), 1, 10), told("balance", (30, 40), 0, 0)];
    let mut entries = vec![write.clone()];
    entries.extend(reads);
    assert_eq!(judge(&entries, &[&write]).stale, 1);
}

#[test]
fn a_write_that_was_sent_later_may_not_stand_before() {
    let first = told("deposit", (0, 10), 2, 20);
    let later = told("deposit", (20, 30), 1, 10);
    assert_eq!(judge(&[first.clone(), later.clone()], &[&later, &first]).stale, 1);
    let doubled = told("deposit", (20, 30), 2, 20);
    assert_eq!(judge(&[first.clone(), doubled], &[&first, &first]).stale, 1);
}

#[test]
fn a_read_that_names_a_wrong_balance_is_untrue() {
    let write = told("deposit", (0, 10), 1, 10);
    let read = told("balance", (11, 12), 1, 11);
    let beyond = told("balance", (11, 12), 7, 10);
    let verdict = judge(&[write.clone(), read, beyond], &[&write]);
    assert_eq!((verdict.stale, verdict.untrue), (0, 2));
}

#[test]
fn an_open_outcome_may_happen_late_but_not_before_it_was_sent() {
    let lost = open(5);
    let after = told("deposit", (50, 60), 1, 10);
    assert!(judge(&[lost.clone(), after.clone()], &[&after, &lost]).holds());
    let early = told("deposit", (0, 3), 2, 20);
    assert_eq!(judge(&[lost.clone(), early.clone()], &[&lost, &early]).stale, 1);
}
