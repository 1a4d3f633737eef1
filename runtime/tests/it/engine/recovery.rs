//! Recovery: snapshot, then history in pages, then held commands in order.

use bytes::Bytes;
use futures::FutureExt as _;
use holm_core::{AskError, EntityAddress, Limits, Offset, SequenceNumber, Timestamp};
use holm_persistence::{ReadError, ShardLog, Snapshot, SnapshotCriteria};
use holm_runtime::FailureKind;
use holm_runtime::engine::Wanted;

use crate::account::{Balance, Collect, Deposit, DepositAndDouble, Look, Withdraw};
use crate::driver::{Driver, SHARD, number};

fn limits(snapshot_every: u64) -> Limits {
    let mut limits = Limits::default();
    limits.snapshot_every = snapshot_every;
    limits
}

/// Promise G10. Laws E1, E10: the same log gives the same state and the same sequence numbers, also for an entity without any event.
#[test]
fn an_entity_comes_back_as_it_was() {
    let mut driver = Driver::new(limits(1_000_000));
    for n in 0..700 {
        driver.ask("a", &Deposit { amount: n }, &format!("k{n}")).unwrap();
        driver.ask("a", &Withdraw { amount: u64::MAX }, &format!("refused{n}")).unwrap();
    }
    driver.reopen();
    let caller = driver.submit("a", &Look {}, "look");
    assert!(matches!(driver.loads[0].wanted, Wanted::Start { .. }));
    driver.load(0);
    assert!(matches!(driver.loads[0].wanted, Wanted::More { .. }), "the history is read in pages");
    driver.settle();
    let answer = driver.answer(caller).unwrap().unwrap();
    assert_eq!(answer.sequence, SequenceNumber(700));
    assert_eq!(number(&driver.ask("a", &Balance {}, "k-b")), (0..700).sum::<u64>());
    assert_eq!(number(&driver.ask("never-seen", &Balance {}, "k-b")), 0);
}

/// Promise G10. Law E1: events are applied again in the order in which they were persisted, also those of one command.
#[test]
fn events_come_back_in_their_order() {
    let mut driver = Driver::new(limits(1_000_000));
    for amount in [3, 5] {
        driver.ask("a", &DepositAndDouble { amount }, &format!("k{amount}")).unwrap();
    }
    driver.reopen();
    assert_eq!(number(&driver.ask("a", &Balance {}, "b")), (3 * 2 + 5) * 2);
}

/// Laws T1, T2: every 2 events there is a snapshot, counted across restarts; a command with three events gets one, after all of them.
#[test]
fn snapshots_come_every_n_events() {
    let mut driver = Driver::new(limits(2));
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    driver.reopen();
    driver.ask("a", &Deposit { amount: 1 }, "k2").unwrap();
    assert_eq!(driver.snapshots, [2]);
    driver.reopen();
    let caller = driver.submit("a", &Balance {}, "k3");
    let replayed = driver.engine.counters().events_replayed;
    driver.settle();
    assert_eq!(driver.engine.counters().events_replayed, replayed, "nothing is left to replay");
    assert_eq!(number(&driver.answer(caller).unwrap()), 2);
    driver.ask("b", &Collect { parts: 3 }, "k4").unwrap();
    assert_eq!(driver.snapshots, [2, 3]);
}

/// Law T7: with "every event" there is one for each command, none early and none late, and the newest leaves nothing to replay. Events are never deleted.
#[test]
fn every_event_may_have_its_snapshot() {
    let mut driver = Driver::new(limits(1));
    for n in 1..=4 {
        driver.ask("a", &Deposit { amount: n }, &format!("k{n}")).unwrap();
    }
    driver.ask("a", &DepositAndDouble { amount: 1 }, "k5").unwrap();
    assert_eq!(driver.snapshots, [1, 2, 3, 4, 6]);
    driver.reopen();
    let replayed = driver.engine.counters().events_replayed;
    assert_eq!(number(&driver.ask("a", &Balance {}, "b")), (1 + 2 + 3 + 4 + 1) * 2);
    assert_eq!(driver.engine.counters().events_replayed, replayed);
    let address = EntityAddress::new("account", "a").unwrap();
    let history = driver.log.history(SHARD, &address, SequenceNumber::ZERO, usize::MAX).unwrap();
    assert_eq!((history.records.len(), history.highest), (5, SequenceNumber(6)));
}

/// Laws N14, J-snapshots: an unreadable snapshot is stepped over with a fact, to the one before it or to a full replay.
#[test]
fn unreadable_snapshots_are_stepped_over() {
    for broken in [1, 2] {
        let mut driver = Driver::new(limits(2));
        for n in 0..5 {
            driver.ask("a", &Deposit { amount: 1 }, &format!("k{n}")).unwrap();
        }
        let address = EntityAddress::new("account", "a").unwrap();
        for sequence in [4, 2].into_iter().take(broken) {
            let snapshot = Snapshot {
                sequence: SequenceNumber(sequence),
                offset: Offset(sequence),
                at: Timestamp::EPOCH,
                payload: Bytes::from_static(&[1, 255, 255]),
            };
            driver.log.save_snapshot(SHARD, &address, snapshot, 2).unwrap();
        }
        driver.reopen();
        assert_eq!(number(&driver.ask("a", &Balance {}, "b")), 5);
        let facts =
            driver.failures.iter().filter(|fact| fact.kind == FailureKind::SnapshotUnreadable);
        assert_eq!(facts.count(), broken);
    }
}

/// Law N17: with every event trimmed away state and number come from the snapshot, and the next event continues from that number.
#[test]
fn a_snapshot_needs_no_events() {
    let mut driver = Driver::new(limits(17));
    for n in 1..=17 {
        driver.ask("a", &Deposit { amount: n }, &format!("k{n}")).unwrap();
    }
    assert_eq!(driver.snapshots, [17]);
    let address = EntityAddress::new("account", "a").unwrap();
    let trim = driver.log.trim(SHARD, &address, SequenceNumber(17));
    trim.now_or_never().unwrap().unwrap();
    let history = driver.log.history(SHARD, &address, SequenceNumber::ZERO, usize::MAX);
    assert!(matches!(history, Err(ReadError::Trimmed { .. })), "no event can be replayed");
    driver.reopen();
    let replayed = driver.engine.counters().events_replayed;
    assert_eq!(number(&driver.ask("a", &Balance {}, "b")), (1..=17).sum::<u64>());
    assert_eq!(driver.engine.counters().events_replayed, replayed);
    let next = driver.ask("a", &Deposit { amount: 1 }, "k18");
    assert_eq!(next.as_ref().unwrap().sequence, SequenceNumber(18));
    assert_eq!(number(&next), (1..=17).sum::<u64>() + 1);

    // Without the snapshot nothing of it is left; asking again does not bring it back.
    driver.log.delete_snapshots(SHARD, &address, SnapshotCriteria::default()).unwrap();
    driver.reopen();
    let lost = driver.ask("a", &Balance {}, "c").unwrap_err();
    assert!(matches!(lost, AskError::RecoveryFailed { .. }), "{lost}");
}

/// A snapshot of another history (it reflects an offset that the log does not have) is not believed, also where the log knows nothing of the entity (law
/// N17, as ours).
#[test]
fn a_snapshot_from_the_future_is_not_believed() {
    let mut driver = Driver::new(limits(1_000));
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    let address = EntityAddress::new("account", "a").unwrap();
    let mut other = Driver::new(limits(2));
    for n in 0..4 {
        other.ask("a", &Deposit { amount: 9 }, &format!("k{n}")).unwrap();
    }
    let foreign =
        other.log.load_snapshot(SHARD, &address, SnapshotCriteria::default()).unwrap().unwrap();
    let unknown = EntityAddress::new("account", "never-seen").unwrap();
    for address in [&address, &unknown] {
        driver.log.save_snapshot(SHARD, address, foreign.clone(), 2).unwrap();
    }
    driver.reopen();
    assert_eq!(number(&driver.ask("a", &Balance {}, "k2")), 1);
    let begun = driver.ask("never-seen", &Deposit { amount: 1 }, "k1");
    assert_eq!(begun.as_ref().unwrap().sequence, SequenceNumber(1));
    assert_eq!(number(&begun), 1);
}

/// Promise G9. Law E23: at most so many recoveries run at once, the rest wait in order.
#[test]
fn recoveries_are_bounded() {
    let mut limits = Limits::default();
    limits.concurrent_recoveries = 2;
    let mut driver = Driver::new(limits);
    let callers: Vec<_> =
        (0..5).map(|n| driver.submit(&format!("e{n}"), &Deposit { amount: n }, "k")).collect();
    assert_eq!(driver.loads.len(), 2);
    driver.load(1);
    assert_eq!(driver.loads.len(), 2, "a permit that is given back is taken at once");
    driver.settle();
    assert!(callers.iter().all(|caller| driver.answer(*caller).unwrap().is_ok()));
    assert_eq!(driver.engine.counters().recovering, 0);
}
