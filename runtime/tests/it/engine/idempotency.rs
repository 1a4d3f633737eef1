//! Promise G2: the same key takes effect once and gives the recorded answer.

use std::time::Duration;

use holm_core::{AskError, Limits, Outcome, Verdict};

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

/// Promise G2: who doubts whether an earlier try arrived has the log looked through, however many keys came since.
#[test]
fn a_try_in_doubt_is_looked_for_in_the_log() {
    let mut limits = Limits::default();
    limits.window_keys = 2;
    let mut driver = Driver::new(limits);
    let first = driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    for key in ["k2", "k3", "k4"] {
        driver.ask("a", &Deposit { amount: 1 }, key).unwrap();
    }
    let again = driver.ask_again("a", &Deposit { amount: 1 }, "k1").unwrap();
    assert!(again.replayed, "two newer ones came, and all the same");
    assert_eq!((again.verdict, again.offset), (first.verdict, first.offset));
    let other = driver.ask_again("a", &Deposit { amount: 2 }, "k1");
    assert!(matches!(other, Err(AskError::KeyReused { .. })), "{other:?}");
    driver.reopen();
    assert!(driver.ask_again("a", &Deposit { amount: 1 }, "k1").unwrap().replayed);
    assert_eq!(number(&driver.ask("a", &Balance {}, "k9")), 4);

    // Nothing is found: it is handled as any other, under its key.
    let fresh = driver.ask_again("a", &Deposit { amount: 1 }, "k5").unwrap();
    assert!(!fresh.replayed);
    assert!(driver.ask("a", &Deposit { amount: 1 }, "k5").unwrap().replayed);
    assert!(
        !driver.ask_again("b", &Deposit { amount: 1 }, "k5").unwrap().replayed,
        "another entity"
    );
}

/// Promise G2: an earlier try that is still on its way is in no log yet, but in the window.
#[test]
fn a_try_in_doubt_that_is_on_its_way_takes_effect_once() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Nothing {}, "wake").unwrap();
    driver.log.hold();
    let first = driver.submit("a", &Deposit { amount: 5 }, "k1");
    let again = driver.submit_again("a", &Deposit { amount: 5 }, "k1");
    driver.load(0);
    driver.flush();
    driver.log.release_all();
    driver.settle();
    assert!(!driver.answer(first).unwrap().unwrap().replayed);
    assert!(driver.answer(again).unwrap().unwrap().replayed);
    assert_eq!(number(&driver.ask("a", &Balance {}, "k9")), 5);
}

/// Promise G2: an earlier try that is on its way and that the window has forgotten is waited for, and then found.
#[test]
fn a_forgotten_try_that_is_on_its_way_is_waited_for() {
    let mut limits = Limits::default();
    limits.window_keys = 2;
    let mut driver = Driver::new(limits);
    driver.ask("a", &Nothing {}, "wake").unwrap();
    driver.log.hold();
    let first = driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.flush();
    for key in ["k2", "k3", "k4"] {
        driver.submit("a", &Deposit { amount: 1 }, key);
    }
    driver.flush();
    let again = driver.submit_again("a", &Deposit { amount: 5 }, "k1");
    while driver.load(0) {}
    driver.log.release_all();
    driver.settle();
    assert!(!driver.answer(first).unwrap().unwrap().replayed);
    assert!(driver.answer(again).unwrap().unwrap().replayed);
    assert_eq!(number(&driver.ask("a", &Balance {}, "k9")), 8);
}

/// Promise G9: who waits for the log longer than its deadline is told so, and takes nobody's place.
#[test]
fn a_doubt_ends_with_its_deadline() {
    let mut limits = Limits::default();
    limits.held_commands = 1;
    let mut driver = Driver::new(limits);
    for held in [false, true] {
        if held {
            driver.ask("a", &Nothing {}, "wake").unwrap();
            driver.log.hold();
            driver.submit("a", &Deposit { amount: 5 }, "k0");
            driver.flush();
        }
        let waiting = driver.submit_again("a", &Deposit { amount: 5 }, "k1");
        driver.tick(Duration::from_secs(3_601));
        let error = driver.answer(waiting).unwrap().unwrap_err();
        let not_applied = Outcome::NotApplied;
        assert_eq!(error, AskError::DeadlinePassed { outcome: not_applied });
        driver.loads.clear();
        let next = driver.submit_again("a", &Deposit { amount: 5 }, "k2");
        assert!(driver.answer(next).is_none(), "there is room again");
        driver.engine.drain();
        driver.log.release_all();
        driver.settle();
        assert!(driver.drained && driver.answer(next).unwrap().is_err());
        driver = Driver::new(driver.limits.clone());
    }
}

/// A wrapped command is looked at before the log is: what could not be asked costs no look.
#[test]
fn what_is_wrapped_keeps_every_bound() {
    let mut limits = Limits::default();
    limits.command_bytes = 64;
    let mut driver = Driver::new(limits);
    let long = driver.submit_wrapped("deposit", vec![0; 65]);
    let unknown = driver.submit_wrapped("holm-again", vec![0; 3]);
    assert!(matches!(driver.answer(long).unwrap(), Err(AskError::TooLarge { .. })));
    assert!(matches!(driver.answer(unknown).unwrap(), Err(AskError::UnknownCommand { .. })));
    assert!(driver.loads.is_empty());
}

/// Promise G9: those who wait for the log are bounded, and each is answered when the engine ends or drains meanwhile.
#[test]
fn doubts_are_bounded_and_answered_in_any_case() {
    let mut limits = Limits::default();
    limits.held_commands = 2;
    for drain in [false, true] {
        let mut driver = Driver::new(limits.clone());
        let waiting: Vec<_> = ["k1", "k2", "k3"]
            .map(|key| driver.submit_again("a", &Deposit { amount: 5 }, key))
            .into();
        let over = driver.answer(waiting[2]).unwrap();
        assert!(matches!(over, Err(AskError::Overloaded { .. })), "{over:?}");
        if drain {
            driver.engine.drain();
            driver.settle();
            assert!(driver.drained);
        } else {
            driver.reopen();
        }
        for caller in &waiting[..2] {
            let error = driver.answer(*caller).unwrap().unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        }
        driver.settle();
        assert!(driver.records().is_empty());
    }
}

/// Promise G2: a wall clock that jumps makes no key old.
#[test]
fn a_key_does_not_grow_old_by_a_jump_of_the_clock() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap();
    driver.tick(Duration::from_secs(3_600));
    assert!(driver.ask("a", &Deposit { amount: 1 }, "k1").unwrap().replayed);
}
