//! Each strategy of supervision, and quarantine from its first record to its last; the time is a parameter.

use std::time::Duration;

use holm_core::{Answer, AskError, ErrorKind, FailureId, Limits, Outcome};
use holm_persistence::{StoredVerdict, decode, encode};
use holm_runtime::engine::{Release, Released};
use holm_runtime::{FailureKind, Severity, Standing};

use crate::account::Deposit;
use crate::brittle::{Add, Total};
use crate::driver::{Driver, number};

const FINE: Add = Add { amount: 1 };
const BAD: Add = Add { amount: 13 };

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn released(answer: Result<Answer, AskError>) -> Released {
    match answer.unwrap().verdict {
        holm_core::Verdict::Accepted(bytes) => decode(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn release(driver: &mut Driver, failure: FailureId, key: &str) -> Result<Answer, AskError> {
    let payload = encode(&Release { failure }).unwrap();
    let caller = driver.submit_named("quarantining/a", "holm-release", payload, key);
    driver.settle();
    driver.answer(caller).unwrap()
}

/// An entity in quarantine, and the fact that says so.
fn quarantined(driver: &mut Driver) -> FailureId {
    driver.ask_of("quarantining/a", &Add { amount: 5 }, "k0").unwrap();
    for key in ["q1", "q2", "q3"] {
        let error = driver.ask_of("quarantining/a", &BAD, key).unwrap_err();
        assert!(matches!(error, AskError::EntityFailed { .. }), "{error}");
    }
    let fact = driver.failures.last().unwrap();
    assert_eq!((fact.standing, fact.severity), (Standing::Quarantined, Severity::Critical));
    assert_eq!((fact.attempt, fact.reason().contains("thirteen")), (3, true));
    fact.id
}

/// Promise G7: `Resume` goes on at once, however often, and what waits behind the failure is handled.
#[test]
fn resume_goes_on_at_once_and_does_not_count() {
    let mut driver = Driver::new(Limits::default());
    for n in 0..50 {
        let before = driver.submit_to("resuming/a", &FINE, &format!("a{n}"));
        let fails = driver.submit_to("resuming/a", &BAD, &format!("b{n}"));
        let behind = driver.submit_to("resuming/a", &FINE, &format!("c{n}"));
        driver.settle();
        assert!(driver.answer(fails).unwrap().is_err());
        let totals = [before, behind].map(|caller| number(&driver.answer(caller).unwrap()));
        assert_eq!(totals, [2 * n + 1, 2 * n + 2]);
    }
    assert!(driver.failures.iter().all(|fact| fact.standing == Standing::Running));
    assert_eq!(driver.failures.len(), 50);
}

/// Promise G7: `Restart` refuses commands for a while, with the time to wait, and the state is right afterwards.
#[test]
fn restart_backs_off_and_says_for_how_long() {
    let mut driver = Driver::new(Limits::default());
    let fail =
        |driver: &mut Driver, key: &str| driver.ask_of("restarting/a", &BAD, key).unwrap_err();
    fail(&mut driver, "b1");
    assert_eq!(number(&driver.ask_of("restarting/a", &FINE, "f1")), 1, "the first costs nothing");
    fail(&mut driver, "b2");
    let refused = driver.ask_of("restarting/a", &Total {}, "f2").unwrap_err();
    let address = "restarting/a".parse().unwrap();
    assert_eq!(refused, AskError::Restarting { address, retry_after: millis(100) });
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::BackOff, Outcome::NotApplied));
    assert_eq!(number(&driver.ask("neighbour", &Deposit { amount: 1 }, "n")), 1);
    driver.tick(millis(60));
    let refused = driver.ask_of("restarting/a", &FINE, "f2").unwrap_err();
    assert!(
        matches!(refused, AskError::Restarting { retry_after, .. } if retry_after == millis(40))
    );
    driver.tick(millis(40));
    assert_eq!(number(&driver.ask_of("restarting/a", &FINE, "f2")), 2);
    for (key, wait) in [("b3", 200), ("b4", 300)] {
        fail(&mut driver, key);
        let standing = driver.failures.last().unwrap().standing;
        assert_eq!(standing, Standing::Restarting { after_ms: wait });
        driver.tick(millis(wait));
    }
    fail(&mut driver, "b5");
    let error = driver.ask_of("restarting/a", &FINE, "f3").unwrap_err();
    assert!(matches!(error, AskError::Quarantined { .. }), "the limit is reached: {error}");
}

/// Promise G1. Promise G4: nobody is read from the log before what it wrote is there, also when its state was dropped for a back-off meanwhile.
#[test]
fn what_was_on_its_way_is_not_forgotten_in_a_back_off() {
    for to in ["restarting/a", "stopping/a", "quarantining/a"] {
        let mut driver = Driver::new(Limits::default());
        driver.ask_of(to, &BAD, "b0").unwrap_err();
        driver.ask_of(to, &FINE, "f0").unwrap();
        driver.log.hold();
        let written = driver.submit_to(to, &FINE, "f1");
        driver.flush();
        let fails = driver.submit_to(to, &BAD, "b1");
        assert!(driver.answer(fails).unwrap().is_err());
        driver.tick(millis(500));
        let after = driver.submit_to(to, &FINE, "f2");
        assert!(driver.loads.is_empty(), "{to} is read before its record is durable");
        driver.log.release_all();
        driver.settle();
        let totals = [written, after].map(|caller| number(&driver.answer(caller).unwrap()));
        assert_eq!(totals, [2, 3], "{to}");
    }
}

/// Promise G7: `Stop` lets the entity go; the next command brings it back at once.
#[test]
fn stop_leaves_memory_until_the_next_command() {
    let mut driver = Driver::new(Limits::default());
    driver.ask_of("stopping/a", &FINE, "k1").unwrap();
    for key in ["b1", "b2", "b3"] {
        driver.ask_of("stopping/a", &BAD, key).unwrap_err();
        assert_eq!(driver.engine.counters().live, 0);
        assert_eq!(driver.failures.last().unwrap().standing, Standing::Stopped);
    }
    assert_eq!(number(&driver.ask_of("stopping/a", &Total {}, "k2")), 1);
}

/// Promise G7: in quarantine no handler runs, reads included; the error names the fact, and the neighbours of the same type go on.
#[test]
fn quarantine_lets_no_command_through() {
    let mut driver = Driver::new(Limits::default());
    let failure = quarantined(&mut driver);
    let loads = driver.engine.counters().activations;
    for key in ["r1", "r2"] {
        let error = driver.ask_of("quarantining/a", &Total {}, key).unwrap_err();
        let AskError::Quarantined { failure: named, reason, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*named, reason.contains("thirteen")), (failure, true));
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::GiveUp, Outcome::NotApplied));
    }
    assert_eq!(driver.engine.counters().activations, loads);
    assert_eq!(driver.engine.counters().quarantined, 1);
    assert_eq!(number(&driver.ask_of("quarantining/b", &FINE, "n")), 1);
}

/// Promise G7: the fact and the refusals leave when the quarantine is durable, not before; a quarantine that is lost is said to be none.
#[test]
fn a_quarantine_is_said_when_it_is_durable() {
    let mut driver = Driver::new(Limits::default());
    driver.ask_of("quarantining/a", &BAD, "b1").unwrap_err();
    driver.ask_of("quarantining/a", &BAD, "b2").unwrap_err();
    driver.log.hold();
    driver.submit_to("quarantining/a", &BAD, "b3");
    driver.flush();
    let early = driver.submit_to("quarantining/a", &FINE, "f1");
    let early = driver.answer(early).unwrap().unwrap_err();
    assert!(matches!(early, AskError::Restarting { .. }), "{early}");
    assert_eq!(driver.failures.len(), 2);
    driver.reopen();
    driver.log.release_all();
    assert_eq!(driver.failures.last().unwrap().standing, Standing::Stopped);
}

/// Promise G7. Promise G3: quarantine stands in the log, so it survives a crash and a change of the leader, and the snapshot before it does not hide it.
#[test]
fn quarantine_survives_a_new_leader() {
    for snapshot_every in [1, 1_000] {
        let mut limits = Limits::default();
        limits.snapshot_every = snapshot_every;
        let mut driver = Driver::new(limits);
        let failure = quarantined(&mut driver);
        for _ in 0..2 {
            driver.reopen();
            let held = ["h1", "h2"].map(|key| driver.submit_to("quarantining/a", &FINE, key));
            driver.settle();
            for caller in held {
                let error = driver.answer(caller).unwrap().unwrap_err();
                assert!(
                    matches!(error, AskError::Quarantined { failure: named, .. } if named == failure),
                    "{error}"
                );
            }
        }
        assert_eq!(released(release(&mut driver, failure, "lift")), Released::Lifted);
        driver.reopen();
        assert_eq!(number(&driver.ask_of("quarantining/a", &FINE, "f1")), 6);
    }
}

/// Promise G7. Promise G2: lifting a quarantine is safe to repeat, on a leader that never heard of it too, and lifts only the one that it names.
#[test]
fn only_the_quarantine_that_is_named_is_lifted() {
    let mut driver = Driver::new(Limits::default());
    let failure = quarantined(&mut driver);
    driver.reopen();
    let other = FailureId(9);
    assert_eq!(released(release(&mut driver, other, "l0")), Released::Another { failure });
    assert!(driver.ask_of("quarantining/a", &FINE, "f0").is_err());
    let first = release(&mut driver, failure, "l1").unwrap();
    assert!(!first.replayed);
    assert_eq!(number(&driver.ask_of("quarantining/a", &FINE, "f1")), 6);
    let again = release(&mut driver, failure, "l1").unwrap();
    assert!(again.replayed);
    assert_eq!(released(release(&mut driver, failure, "l2")), Released::WasFree);
    for key in ["b1", "b2", "b3"] {
        driver.ask_of("quarantining/a", &BAD, key).unwrap_err();
    }
    let second = driver.failures.last().unwrap().id;
    let late = released(release(&mut driver, failure, "l3"));
    assert_eq!(late, Released::Another { failure: second }, "a late retry does no harm");
}

/// Promise G4. Promise G7: the records of a quarantine stand in the chain of the entity, without events, and a key used before it is still known after it.
#[test]
fn a_quarantine_leaves_no_gap() {
    let mut driver = Driver::new(Limits::default());
    let failure = quarantined(&mut driver);
    release(&mut driver, failure, "lift").unwrap();
    driver.ask_of("quarantining/a", &FINE, "f1").unwrap();
    let stored = driver.records();
    let records: Vec<_> = stored.iter().map(|stored| stored.decode().unwrap()).collect();
    let commands: Vec<_> = records.iter().map(|record| record.command).collect();
    assert_eq!(commands, ["add", "holm-quarantine", "holm-release", "add"]);
    for (before, record) in stored.iter().zip(&records[1..]) {
        assert_eq!(record.previous, before.offset);
    }
    assert_eq!(records.iter().map(|record| record.base.get()).collect::<Vec<_>>(), [0, 1, 1, 1]);
    assert!(matches!(records[1].verdict, StoredVerdict::Accepted(_)));
    driver.reopen();
    assert!(driver.ask_of("quarantining/a", &Add { amount: 5 }, "k0").unwrap().replayed);
}

/// Promise G7: an entity that cannot be rebuilt is supervised in the same way, and its quarantine is found before the event that breaks it.
#[test]
fn a_poisoned_history_ends_in_quarantine() {
    let mut driver = Driver::new(Limits::default());
    driver.ask_of("quarantining/a", &FINE, "k1").unwrap();
    poison(&driver);
    driver.reopen();
    for key in ["r1", "r2", "r3"] {
        let error = driver.ask_of("quarantining/a", &Total {}, key).unwrap_err();
        assert!(matches!(error, AskError::RecoveryFailed { .. }), "{error}");
    }
    assert!(driver.failures.iter().all(|fact| fact.kind == FailureKind::RecoveryFailed));
    let commands = driver.failures.iter().map(|fact| fact.command.as_ref().unwrap());
    let keys: Vec<_> = commands.map(|command| (&*command.name, &*command.key)).collect();
    assert_eq!(keys, [("total", "r1"), ("total", "r2"), ("total", "r3")], "who wanted it back");
    driver.reopen();
    let error = driver.ask_of("quarantining/a", &Total {}, "r4").unwrap_err();
    assert!(matches!(error, AskError::Quarantined { .. }), "{error}");
    assert_eq!(driver.failures.len(), 3, "and its history was not tried again");
}

/// What stands of an entity after each of so many tries to recover it, a quarter of a second apart.
fn tries_to_recover(driver: &mut Driver, to: &str, tries: usize) -> Vec<Standing> {
    driver.ask_of(to, &FINE, "k1").unwrap();
    poison(driver);
    driver.reopen();
    driver.failures.clear();
    for n in 0..tries {
        driver.ask_of(to, &Total {}, &format!("r{n}")).unwrap_err();
        driver.tick(millis(250));
    }
    let facts = &driver.failures;
    assert!(facts.iter().all(|fact| fact.kind == FailureKind::RecoveryFailed), "{facts:?}");
    facts.iter().map(|fact| fact.standing).collect()
}

/// Promise G7: each strategy in recovery. Nothing is tried again by itself; with `Restart` the waits are kept, and its limit.
#[test]
fn each_strategy_holds_in_recovery() {
    let mut driver = Driver::new(Limits::default());
    assert_eq!(tries_to_recover(&mut driver, "resuming/a", 6), [Standing::Stopped; 6]);
    let mut driver = Driver::new(Limits::default());
    assert_eq!(tries_to_recover(&mut driver, "stopping/a", 6), [Standing::Stopped; 6]);
    let mut driver = Driver::new(Limits::default());
    let waits = |after_ms| Standing::Restarting { after_ms };
    assert_eq!(
        tries_to_recover(&mut driver, "restarting/a", 7),
        [Standing::Stopped, waits(100), waits(200), waits(300), Standing::Quarantined],
        "in the last wait, and in quarantine, it is not tried"
    );
}

/// Promise G7: what a type says of its recovery holds there, and what it says of its commands holds for them.
#[test]
fn recovery_has_a_strategy_of_its_own() {
    let mut driver = Driver::new(Limits::default());
    for n in 0..5 {
        driver.ask_of("apart/b", &BAD, &format!("b{n}")).unwrap_err();
    }
    assert!(driver.failures.iter().all(|fact| fact.standing == Standing::Running));
    let mut driver = Driver::new(Limits::default());
    let standings = tries_to_recover(&mut driver, "apart/a", 4);
    assert_eq!(standings, [Standing::Stopped, Standing::Quarantined]);
}

/// Promise G7: the fact about a history that cannot be read tells which event, and behind that, why.
#[test]
fn what_cannot_be_read_is_told_with_its_causes() {
    let mut driver = Driver::new(Limits::default());
    driver.ask_of("quarantining/a", &FINE, "k1").unwrap();
    store_event(&driver, "Unheard", &[]);
    driver.reopen();
    let error = driver.ask_of("quarantining/a", &Total {}, "r1").unwrap_err();
    let causes = &driver.failures[0].causes;
    assert_eq!(&*causes[0], "event 2 cannot be read");
    assert!(causes.len() == 2 && causes[1].contains("`Unheard`"), "{causes:?}");
    let AskError::RecoveryFailed { reason, .. } = error else { panic!("{error}") };
    assert_eq!(&*reason, causes.join(": "), "its caller hears all of it");
}

/// Promise G7: whoever hears of a failure can already wait until it is stored.
#[test]
fn a_failure_is_told_before_its_caller_hears_of_it() {
    let mut driver = Driver::new(Limits::default());
    driver.ask_of("quarantining/a", &BAD, "k1").unwrap_err();
    driver.ask_of("quarantining/a", &FINE, "k2").unwrap();
    store_event(&driver, "Unheard", &[]);
    driver.reopen();
    driver.ask_of("quarantining/a", &Total {}, "r1").unwrap_err();
    driver.log.fail_reads(true);
    driver.ask_of("resuming/b", &Total {}, "r2").unwrap_err();
    let kinds: Vec<_> = driver.failures.iter().map(|fact| fact.kind).collect();
    let unread = FailureKind::RecoveryFailed;
    assert_eq!(kinds, [FailureKind::Panicked, unread, unread]);
    assert_eq!(driver.answered_before, [0, 2, 3]);
}

/// Writes the event on which `apply` panics behind the log's end, as an older version of the program might have.
fn poison(driver: &Driver) {
    let payload = encode(&crate::brittle::BrittleEvent::Added { amount: 1_000 }).unwrap();
    store_event(driver, "Added", &payload);
}

fn store_event(driver: &Driver, name: &str, payload: &[u8]) {
    use holm_persistence::{BatchBuilder, Record, ShardLog, StoredEvent};
    let stored = driver.records();
    let first = stored[0].decode().unwrap();
    let event = StoredEvent { name, schema_version: 1, payload };
    let record = Record {
        previous: stored[0].offset,
        base: first.last_sequence(),
        key: holm_core::IdempotencyKey::new("poison").unwrap(),
        events: vec![event],
        ..first.clone()
    };
    let next = driver.log.last_offset(crate::driver::SHARD).unwrap().next();
    let mut batch = BatchBuilder::new(crate::driver::SHARD, driver.term, next);
    batch.push(&record).unwrap();
    futures::FutureExt::now_or_never(driver.log.append(batch.finish())).unwrap().unwrap();
}
