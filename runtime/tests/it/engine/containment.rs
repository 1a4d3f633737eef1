//! Panics and oversized things harm one command of one entity, nothing else.

use holm_core::{AskError, Limit, Limits, Outcome};
use holm_runtime::FailureKind;

use crate::account::{Balance, Deposit, Nothing, Pad, Panic, PanicAt};
use crate::driver::{Driver, number};

/// Promise G7. Law E17: the command fails, the entity comes back from the log with what was persisted, the neighbour notices nothing.
#[test]
fn a_panic_is_contained() {
    for at in [PanicAt::Handle, PanicAt::Apply, PanicAt::Reply] {
        let mut driver = Driver::new(Limits::default());
        driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
        driver.ask("b", &Deposit { amount: 7 }, "k1").unwrap();
        driver.log.hold();
        let before = driver.submit("a", &Deposit { amount: 1 }, "k2");
        let fails = driver.submit("a", &Panic { at }, "k3");
        let held = driver.submit("a", &Deposit { amount: 1 }, "k4");
        let neighbour = driver.submit("b", &Deposit { amount: 1 }, "k2");
        driver.flush();
        assert!(driver.loads.is_empty(), "what was written before the panic is not durable yet");
        driver.log.release_all();
        driver.settle();
        let error = driver.answer(fails).unwrap().unwrap_err();
        assert!(matches!(&error, AskError::EntityFailed { .. }), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        let balances =
            [before, held, neighbour].map(|caller| number(&driver.answer(caller).unwrap()));
        assert_eq!(balances, [6, 7, 8], "{at:?}");
        assert_eq!(driver.failures.len(), 1);
        assert_eq!(driver.failures[0].kind, FailureKind::Panicked);
        assert_eq!(number(&driver.ask("a", &Balance {}, "k5")), 7);
    }
}

/// Promise G7. Laws E12, E13: an event on which `apply` panics fails the recovery of its entity and of no other.
#[test]
fn a_poisoned_history_fails_one_entity() {
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    driver.ask("b", &Deposit { amount: 5 }, "k1").unwrap();
    poison(&driver);
    driver.reopen();
    let poisoned = driver.ask("a", &Balance {}, "k2").unwrap_err();
    assert!(matches!(poisoned, AskError::RecoveryFailed { .. }), "{poisoned}");
    assert_eq!(number(&driver.ask("b", &Balance {}, "k3")), 5);
    assert_eq!(driver.failures[0].kind, FailureKind::RecoveryFailed);
    assert!(driver.ask("a", &Balance {}, "k4").is_err(), "and it is tried again, not remembered");
}

/// Writes a record with a poisoned event behind the log's end, as a buggy older version of the program might have.
fn poison(driver: &Driver) {
    use holm_persistence::{BatchBuilder, Record, ShardLog, StoredEvent, StoredVerdict, encode};
    let stored = driver.records();
    let first = stored[0].decode().unwrap();
    let payload = encode(&crate::account::AccountEvent::Poisoned).unwrap();
    let event = StoredEvent { name: "Poisoned", schema_version: 1, payload: &payload };
    let key = holm_core::IdempotencyKey::new("poison").unwrap();
    let record = Record {
        previous: stored[0].offset,
        base: first.last_sequence(),
        key,
        events: vec![event],
        verdict: StoredVerdict::Accepted(&[]),
        ..first.clone()
    };
    let next = driver.log.last_offset(crate::driver::SHARD).unwrap().next();
    let mut batch = BatchBuilder::new(crate::driver::SHARD, driver.term, next);
    batch.push(&record).unwrap();
    futures::FutureExt::now_or_never(driver.log.append(batch.finish())).unwrap().unwrap();
}

/// Promise G9: what is too long is refused by the name of its limit, and nothing of it stays.
#[test]
fn oversized_things_name_their_limit_and_change_nothing() {
    let mut limits = Limits::default();
    (limits.command_bytes, limits.events_bytes, limits.reply_bytes) = (500, 1_000, 2_000);
    let mut driver = Driver::new(limits);
    driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    let pad = |event_bytes, reply_bytes| Pad { event_bytes, reply_bytes };
    for (event, reply, limit) in [(1_001, 1, Limit::EventsBytes), (1, 2_001, Limit::ReplyBytes)] {
        let error = driver.ask("a", &pad(event, reply), "k2").unwrap_err();
        assert!(
            matches!(error, AskError::TooLarge { limit: named, .. } if named == limit),
            "{error}"
        );
        assert_eq!(number(&driver.ask("a", &Balance {}, "k3")), 5);
    }
    assert_eq!(driver.records().len(), 1);
    assert!(driver.ask("a", &pad(900, 1_900), "k2").is_ok(), "the key is still free");
    let address = holm_core::EntityAddress::new("account", "a").unwrap();
    let envelope = holm_core::CommandEnvelope {
        address,
        command: "deposit".into(),
        payload: vec![0; 501].into(),
        key: holm_core::IdempotencyKey::new("k5").unwrap(),
        id: holm_core::CommandId(1),
        correlation: holm_core::CorrelationId(1),
        causation: holm_core::CausationId(1),
        deadline: driver.now.plus(std::time::Duration::from_secs(1)),
    };
    driver.engine.submit(driver.now, envelope, 999);
    driver.settle();
    let error = driver.answer(999).unwrap().unwrap_err();
    assert!(matches!(error, AskError::TooLarge { limit: Limit::CommandBytes, actual: 501, .. }));
}

/// Promise G9. Laws H7, H8: at most so many commands wait for one recovery; the one too many is told which limit it was.
#[test]
fn held_commands_are_bounded() {
    let mut limits = Limits::default();
    limits.held_commands = 3;
    let mut driver = Driver::new(limits);
    let held = [0, 1, 2, 3].map(|n| driver.submit("a", &Deposit { amount: 1 }, &format!("k{n}")));
    let overflow = driver.answer(held[3]).unwrap().unwrap_err();
    assert_eq!(overflow, AskError::Overloaded { limit: Limit::HeldCommands, allowed: 3 });
    driver.settle();
    let balances = [0, 1, 2].map(|n: usize| number(&driver.answer(held[n]).unwrap()));
    assert_eq!(balances, [1, 2, 3], "the first ones are handled, in order");
}

/// Law H10: thousands of held commands need no stack.
#[test]
fn thousands_of_held_commands_are_handled() {
    // The interpreter takes minutes for so many, and learns nothing from them.
    const HELD: usize = if cfg!(miri) { 100 } else { 20_000 };
    let mut limits = Limits::default();
    (limits.held_commands, limits.mailbox_capacity) = (HELD, HELD);
    let mut driver = Driver::new(limits);
    for n in 0..HELD {
        driver.submit("a", &Balance {}, &format!("k{n}"));
    }
    driver.settle();
    assert_eq!(driver.answers.len(), HELD);
    assert!(driver.answers.iter().all(|(_, answer, _)| answer.is_ok()));
}

/// An unknown command wakes nobody up and names its neighbour.
#[test]
fn an_unknown_command_is_named() {
    #[derive(holm_runtime::Command, serde::Serialize, serde::Deserialize)]
    #[command(name = "depositt")]
    struct Mistyped {}
    let mut driver = Driver::new(Limits::default());
    let error = driver.ask("a", &Mistyped {}, "k1").unwrap_err();
    assert!(
        matches!(&error, AskError::UnknownCommand { nearest: Some(name), .. } if &**name == "deposit")
    );
    assert_eq!(driver.engine.counters().live, 0);
    driver.ask("a", &Nothing {}, "k2").unwrap();
    assert!(driver.ask("a", &Mistyped {}, "k3").is_err());
}
