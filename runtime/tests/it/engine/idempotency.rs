//! Promise G2: the same key takes effect once and gives the recorded answer.

use std::time::Duration;

use holm_core::{AskError, Limits, Verdict};

use crate::account::{Balance, Deposit, Nothing, Panic, PanicAt, Withdraw};
use crate::driver::{Driver, number};

/// Promise G2: a repeat gets the recorded answer, says so, and changes nothing; a refusal is repeated as a refusal.
#[test]
fn a_repeated_key_gives_the_recorded_answer() {
    let mut driver = Driver::new(Limits::default());
    let first = driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    let refused = driver.ask("a", &Withdraw { amount: 6 }, "k2").unwrap();
    driver.ask("a", &Deposit { amount: 5 }, "k3").unwrap();
    let again = driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!(
        (&again.verdict, again.offset, again.sequence),
        (&first.verdict, first.offset, first.sequence)
    );
    let refused_again = driver.ask("a", &Withdraw { amount: 6 }, "k2").unwrap();
    assert!(
        matches!(refused_again.verdict, Verdict::Rejected(_)),
        "although the money is there by now"
    );
    assert_eq!(refused_again.verdict, refused.verdict);
    assert_eq!(number(&driver.ask("a", &Balance {}, "k4")), 10);
}

/// Promise G2: a repeat of a try that is still on its way waits for the same batch.
#[test]
fn a_repeat_in_flight_waits_for_the_same_batch() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Nothing {}, "wake").unwrap();
    driver.log.hold();
    let first = driver.submit("a", &Deposit { amount: 5 }, "k1");
    let repeat = driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.flush();
    assert!(driver.loads.is_empty() && driver.answer(repeat).is_none());
    driver.log.release_all();
    driver.settle();
    let (first, repeat) =
        (driver.answer(first).unwrap().unwrap(), driver.answer(repeat).unwrap().unwrap());
    assert_eq!(
        (first.verdict, first.offset, false),
        (repeat.verdict, repeat.offset, first.replayed)
    );
    assert!(repeat.replayed);
    assert_eq!(driver.records().len(), 2);
}

/// Promise G2: the same key with another command or payload is a misuse and is named as one.
#[test]
fn a_key_used_for_something_else_is_refused() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    for answer in [
        driver.ask("a", &Deposit { amount: 6 }, "k1"),
        driver.ask("a", &Withdraw { amount: 5 }, "k1"),
    ] {
        assert!(matches!(answer, Err(AskError::KeyReused { .. })), "{answer:?}");
    }
    assert_eq!(
        number(&driver.ask("b", &Deposit { amount: 6 }, "k1")),
        6,
        "another entity has a window of its own"
    );
}

/// Promise G2: the window survives rest, restart, snapshot and failure.
#[test]
fn the_window_survives_recovery_and_snapshots() {
    for snapshot_every in [2, 1_000] {
        let mut limits = Limits::default();
        limits.snapshot_every = snapshot_every;
        let mut driver = Driver::new(limits);
        driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
        driver.ask("a", &Deposit { amount: 5 }, "k2").unwrap();
        // A refusal right behind the snapshot, and no event after it.
        driver.ask("a", &Withdraw { amount: 50 }, "k3").unwrap();
        driver.reopen();
        assert!(driver.ask("a", &Withdraw { amount: 50 }, "k3").unwrap().replayed);
        driver.ask("a", &Panic { at: PanicAt::Handle }, "k4").unwrap_err();
        for key in ["k1", "k2"] {
            assert!(
                driver.ask("a", &Deposit { amount: 5 }, key).unwrap().replayed,
                "{key}, snapshots every {snapshot_every}"
            );
        }
        assert_eq!(driver.records().len(), 3);
    }
}

/// Promise G2, the stated bound: a key is forgotten by count and by age, and then takes effect again.
#[test]
fn the_window_is_bounded_by_count_and_age() {
    let mut limits = Limits::default();
    (limits.window_keys, limits.window_age) = (2, Duration::from_secs(60));
    let mut driver = Driver::new(limits);
    for key in ["k1", "k2", "k3"] {
        driver.ask("a", &Deposit { amount: 1 }, key).unwrap();
    }
    assert!(driver.ask("a", &Deposit { amount: 1 }, "k2").unwrap().replayed);
    assert!(
        !driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap().replayed,
        "two newer ones came"
    );
    for _ in 0..61 {
        driver.tick(Duration::from_secs(1));
    }
    assert!(!driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap().replayed, "a minute passed");
    assert_eq!(number(&driver.ask("a", &Balance {}, "k9")), 5);
}

/// Promise G2: a wall clock that jumps makes no key old.
#[test]
fn a_key_does_not_grow_old_by_a_jump_of_the_clock() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    driver.tick(Duration::from_secs(3_600));
    assert!(driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap().replayed);
}
