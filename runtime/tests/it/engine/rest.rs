//! Passivation: idle, to make room, and by the entity's own wish.

use std::time::Duration;

use holm_core::{AskError, Limit, Limits};

use crate::account::{Balance, Deposit, DepositAndRest};
use crate::driver::{Driver, number};

/// Law V1: an entity is put to rest after the idle timeout, checked on both sides of it; what it knew comes back.
#[test]
fn idle_entities_are_put_to_rest() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    driver.tick(Duration::from_secs(60));
    driver.ask("b", &Deposit { amount: 2 }, "k1").unwrap();
    driver.tick(Duration::from_millis(59_999));
    assert_eq!(driver.engine.counters().live, 2);
    driver.tick(Duration::from_millis(1));
    assert_eq!((driver.engine.counters().live, driver.engine.counters().passivations_idle), (1, 1));
    driver.tick(Duration::from_secs(60));
    assert_eq!(driver.engine.counters().live, 0);
    assert_eq!(number(&driver.ask("a", &Deposit { amount: 1 }, "k2")), 2);
    assert!(driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap().replayed);
}

/// Law V1: zero turns the idle timeout off.
#[test]
fn without_an_idle_timeout_nobody_rests() {
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::ZERO;
    let mut driver = Driver::new(limits);
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    driver.tick(Duration::from_secs(86_400));
    assert_eq!(driver.engine.counters().live, 1);
}

/// Promise G9: no more than the limit are alive; the one unused for longest makes room, and one that is busy does not.
#[test]
fn the_least_recently_used_makes_room() {
    let mut limits = Limits::default();
    limits.live_entities = 2;
    let mut driver = Driver::new(limits);
    for id in ["a", "b", "a", "c"] {
        driver.ask(id, &Balance {}, "k1").unwrap();
    }
    let counters = driver.engine.counters();
    assert_eq!((counters.live, counters.passivations_limit, counters.activations), (2, 1, 3));
    driver.ask("a", &Balance {}, "k2").unwrap();
    assert_eq!(driver.engine.counters().activations, 3, "it was b that went");
    driver.log.hold();
    driver.submit("a", &Deposit { amount: 1 }, "k3");
    driver.submit("c", &Deposit { amount: 1 }, "k3");
    let refused = driver.submit("d", &Deposit { amount: 1 }, "k3");
    let error = driver.answer(refused).unwrap().unwrap_err();
    assert_eq!(error, AskError::Overloaded { limit: Limit::LiveEntities, allowed: 2 });
    driver.flush();
    driver.log.release_all();
    driver.settle();
    assert!(driver.ask("d", &Deposit { amount: 1 }, "k3").is_ok());
}

/// Law E3: "persist, then rest" rests only after the write is stored.
#[test]
fn a_wish_to_rest_waits_for_the_write() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Balance {}, "k0").unwrap();
    driver.log.hold();
    let caller = driver.submit("a", &DepositAndRest {}, "k1");
    driver.flush();
    assert_eq!(driver.engine.counters().live, 1);
    driver.log.release_all();
    driver.settle();
    assert_eq!(number(&driver.answer(caller).unwrap()), 1);
    assert_eq!((driver.engine.counters().live, driver.engine.counters().passivations_wish), (0, 1));
    assert_eq!(number(&driver.ask("a", &Balance {}, "k2")), 1);
}

/// A snapshot is taken on passivation when it spares enough replay, and not otherwise.
#[test]
fn rest_takes_a_snapshot_when_it_is_worth_it() {
    for (events, snapshots) in [(24, 0), (25, 1)] {
        let mut driver = Driver::new(Limits::default());
        for n in 0..events {
            driver.ask("a", &Deposit { amount: 1 }, &format!("k{n}")).unwrap();
        }
        driver.tick(Duration::from_secs(121));
        assert_eq!((driver.engine.counters().live, driver.snapshots.len()), (0, snapshots));
        assert_eq!(number(&driver.ask("a", &Balance {}, "b")), events);
        driver.tick(Duration::from_secs(121));
        assert_eq!(driver.snapshots.len(), snapshots, "reading alone is no reason for another one");
    }
}

/// A snapshot that is long against the events since the last one waits for more of them: the keys of a busy entity must not be written again with
/// every hundredth event. A short one never waits (law T1), and the longest wait is bounded, because recovery replays what was not saved.
#[test]
fn a_long_snapshot_waits_for_more_events() {
    let mut limits = Limits::default();
    (limits.snapshot_every, limits.window_keys) = (10, 1_000);
    let mut driver = Driver::new(limits);
    for n in 0..3_000 {
        driver.ask("a", &Deposit { amount: 1 }, &format!("k{n}")).unwrap();
    }
    let taken = &driver.snapshots;
    assert!(taken.iter().all(|sequence| sequence % 10 == 0));
    assert_eq!(taken[..5], [10, 20, 30, 40, 50], "below a KiB nothing waits");
    let gaps: Vec<u64> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted(), "the window only grows: {gaps:?}");
    let longest = gaps.last().copied().unwrap();
    assert!(
        (300..=640).contains(&longest),
        "some 14 KiB of keys wait for some 450 events: {gaps:?}"
    );
    // Put to rest and brought back, it knows how long its snapshot was.
    driver.tick(Duration::from_secs(121));
    let before = driver.snapshots.len();
    for n in 0..50 {
        driver.ask("a", &Deposit { amount: 1 }, &format!("again{n}")).unwrap();
    }
    assert_eq!(driver.snapshots.len(), before);
    assert_eq!(number(&driver.ask("a", &Balance {}, "b")), 3_050);
}
