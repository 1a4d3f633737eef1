//! Pipelined commit: what leaves the engine when.

use std::time::Duration;

use holm_core::{AskError, Limits, Outcome, Verdict};
use holm_persistence::AppendError;

use crate::account::{Balance, Collect, Deposit, Nothing, Withdraw};
use crate::driver::{Driver, number};

fn live(limits: Limits) -> Driver {
    let mut driver = Driver::new(limits);
    driver.ask("a", &Nothing {}, "wake").unwrap();
    driver.answers.clear();
    driver
}

/// Promise G1. Laws E4, H1: a reply leaves after its batch is durable, replies leave in order, and further commands do not wait for the write.
#[test]
fn replies_leave_when_durable_and_in_order() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    let first = driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.flush();
    let second = driver.submit("a", &Withdraw { amount: 9 }, "k2");
    let third = driver.submit("a", &Withdraw { amount: 4 }, "k3");
    driver.flush();
    assert_eq!(driver.appends.len(), 2, "two batches are on their way");
    assert!(!driver.acknowledge() && driver.answers.is_empty(), "nothing is durable");
    driver.log.release(1);
    assert!(driver.acknowledge());
    assert_eq!(driver.answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), [first]);
    driver.log.release_all();
    driver.settle();
    assert_eq!(
        driver.answers.iter().map(|answer| answer.0).collect::<Vec<_>>(),
        [first, second, third]
    );
    assert!(
        matches!(driver.answer(second), Some(Ok(answer)) if matches!(answer.verdict, Verdict::Rejected(_)))
    );
    assert_eq!(number(&driver.answer(third).unwrap()), 1);
    assert_eq!(driver.records().len(), 4, "the refusal is recorded too");
}

/// Promise G5: a read waits for the batch whose state it saw.
#[test]
fn a_read_waits_for_what_it_saw() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    driver.submit("a", &Deposit { amount: 5 }, "k1");
    let read = driver.submit("a", &Balance {}, "k2");
    driver.flush();
    while driver.confirm() {}
    assert_eq!(driver.answer(read), None, "it saw an event that is not durable");
    driver.log.release_all();
    driver.settle();
    assert_eq!(number(&driver.answer(read).unwrap()), 5);
    assert_eq!(driver.records().len(), 2, "reads are not recorded");
}

/// Promise G5: that a batch is durable is no word for a read that was executed after it left. Its acknowledgement may be old, or come from a log that
/// somebody else leads by now.
#[test]
fn a_read_behind_a_batch_that_left_needs_a_confirmation_too() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    let write = driver.submit("a", &Deposit { amount: 5 }, "k1");
    let before = driver.submit("a", &Balance {}, "k2");
    driver.flush();
    let behind = driver.submit("a", &Balance {}, "k3");
    driver.log.release_all();
    assert!(driver.acknowledge());
    for proven in [write, before] {
        assert!(driver.answer(proven).is_some(), "it was executed before the batch left");
    }
    assert_eq!(driver.answer(behind), None);
    let newer = driver.term.next();
    let fenced = holm_persistence::ShardLog::open(&*driver.log, crate::driver::SHARD, newer);
    futures::FutureExt::now_or_never(fenced).unwrap().unwrap();
    driver.flush();
    assert!(driver.confirm());
    let answer = driver.answer(behind).unwrap();
    assert!(
        matches!(answer, Err(AskError::Unavailable { outcome: Outcome::NotApplied, .. })),
        "{answer:?}"
    );
}

/// Promise G3. Promise G5: a read of durable state waits for the word that the term still holds, and one word answers all reads before it.
#[test]
fn a_read_of_durable_state_needs_a_confirmation() {
    let mut driver = live(Limits::default());
    let reads = ["k1", "k2", "k3"].map(|key| driver.submit("a", &Balance {}, key));
    assert!(driver.answers.is_empty());
    driver.flush();
    let late = driver.submit("a", &Balance {}, "k4");
    assert_eq!(driver.confirms.len(), 1);
    driver.confirm();
    assert!(reads.iter().all(|read| driver.answer(*read).is_some()));
    assert_eq!(driver.answer(late), None, "it was executed after the confirmation was asked for");
    // Somebody else leads by now: the late read must not be answered from here.
    let newer = driver.term.next();
    let fenced = holm_persistence::ShardLog::open(&*driver.log, crate::driver::SHARD, newer);
    futures::FutureExt::now_or_never(fenced).unwrap().unwrap();
    driver.flush();
    driver.confirm();
    let answer = driver.answer(late).unwrap();
    assert!(
        matches!(answer, Err(AskError::Unavailable { outcome: Outcome::NotApplied, .. })),
        "{answer:?}"
    );
}

/// Promise G1. Promise G3: after a failed write everything behind the last durable offset is forgotten, and the outcome is called unknown.
#[test]
fn a_failed_write_is_forgotten_and_called_unknown() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    driver.log.fail_next_append(crate::driver::SHARD);
    let lost = driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.flush();
    let behind = driver.submit("a", &Deposit { amount: 6 }, "k2");
    driver.flush();
    let read = driver.submit("a", &Balance {}, "k3");
    driver.log.release_all();
    driver.settle();
    for caller in [lost, behind, read] {
        let error = driver.answer(caller).unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    }
    assert_eq!(number(&driver.ask("a", &Balance {}, "k4")), 0);
    assert_eq!(number(&driver.ask("a", &Deposit { amount: 5 }, "k1")), 5, "the retry takes effect");
    assert_eq!(driver.records().len(), 2);
}

/// Promise G3. Promise G4: the engine itself is over after a failed write: what it has in memory may never have been written, so it decides nothing more.
#[test]
fn an_engine_whose_write_failed_decides_nothing_more() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.flush();
    let written = driver.trace.len();
    let reason = "the disk is gone".to_owned();
    driver.engine.failed(&AppendError::Unknown { shard: crate::driver::SHARD, reason });
    let deposit = driver.submit("a", &Deposit { amount: 6 }, "k2");
    let read = driver.submit("a", &Balance {}, "k3");
    driver.flush();
    for caller in [deposit, read] {
        let error = driver.answer(caller).expect("nobody waits for an engine that is over");
        assert_eq!(error.unwrap_err().outcome(), Outcome::NotApplied);
    }
    assert_eq!(driver.trace.len(), written);
}

/// Promise G2: a write whose acknowledgement was lost took effect; the retry gets the recorded answer.
#[test]
fn a_lost_acknowledgement_is_healed_by_the_retry() {
    let mut driver = live(Limits::default());
    driver.log.lose_next_acknowledgement(crate::driver::SHARD);
    let unsure = driver.submit("a", &Deposit { amount: 5 }, "k1");
    driver.settle();
    assert_eq!(driver.answer(unsure).unwrap().unwrap_err().outcome(), Outcome::Unknown);
    let retried = driver.ask("a", &Deposit { amount: 5 }, "k1");
    assert!(retried.as_ref().unwrap().replayed);
    assert_eq!((number(&retried), number(&driver.ask("a", &Balance {}, "k2"))), (5, 5));
}

/// Promise G9: a full batch is closed, no more than the limit is on its way, and the shell is told to stop submitting.
#[test]
fn batches_are_bounded_by_bytes_and_number() {
    let limits = || {
        let mut limits = Limits::default();
        (limits.batch_bytes, limits.batches_in_flight) = (600, 3);
        limits
    };
    let mut driver = live(limits());
    driver.log.hold();
    let mut submitted = 0;
    while !driver.engine.is_saturated() {
        driver.submit("a", &Deposit { amount: 1 }, &format!("k{submitted}"));
        submitted += 1;
        assert!(submitted < 100);
    }
    assert_eq!(driver.appends.len(), 3);
    assert!(driver.trace.iter().all(|batch| batch.len() < 800));
    driver.log.release_all();
    driver.settle();
    assert!(!driver.engine.is_saturated());
    assert_eq!(driver.answers.len(), submitted);
}

/// How many batches may be on their way is the log's word each time, and all of the rest goes at once with the last one.
#[test]
fn a_batch_leaves_as_early_as_the_log_says() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    let mut sent_after = |key: &str, at_once: usize| {
        driver.submit("a", &Deposit { amount: 1 }, key);
        driver.flush_to(at_once);
        driver.appends.len()
    };
    assert_eq!(sent_after("k1", 1), 1);
    assert_eq!(sent_after("k2", 1), 1, "the log works on one of a shard");
    assert_eq!(sent_after("k3", 2), 2, "now it works on two");
    assert_eq!(sent_after("k4", 1), 2);
    driver.log.release_all();
    driver.settle();
    assert_eq!(driver.answers.len(), 4);
}

/// Promise G9: never a hang. A caller whose deadline passes is told so, with the outcome, also when the log never answers.
#[test]
fn deadlines_are_kept_when_the_log_is_silent() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    let soon = driver.now.plus(Duration::from_millis(10));
    let written = driver.submit_until("a", &Deposit { amount: 1 }, "k1", soon);
    let repeated = driver.submit_until("a", &Deposit { amount: 1 }, "k1", soon);
    let held = driver.submit_until("b", &Deposit { amount: 1 }, "k2", soon);
    driver.flush();
    driver.tick(Duration::from_millis(11));
    let outcome = |caller| driver.answer(caller).unwrap().unwrap_err();
    assert_eq!(outcome(written), AskError::DeadlinePassed { outcome: Outcome::Unknown });
    assert_eq!(outcome(repeated), AskError::DeadlinePassed { outcome: Outcome::Unknown });
    assert_eq!(outcome(held), AskError::DeadlinePassed { outcome: Outcome::NotApplied });
    let late = driver.submit_until("a", &Deposit { amount: 1 }, "k3", soon);
    assert_eq!(
        outcome_of(&driver, late),
        AskError::DeadlinePassed { outcome: Outcome::NotApplied }
    );
    driver.log.release_all();
    driver.settle();
    assert_eq!(number(&driver.ask("a", &Balance {}, "k4")), 1, "it took effect all the same, once");
}

fn outcome_of(driver: &Driver, caller: usize) -> AskError {
    driver.answer(caller).unwrap().unwrap_err()
}

/// Promise G6. Law J22: the events of one command share a record, whatever the batch around it.
#[test]
fn the_events_of_a_command_are_one_record() {
    let mut driver = live(Limits::default());
    assert_eq!(number(&driver.ask("a", &Collect { parts: 3 }, "k1")), 3);
    let stored = driver.records();
    let record = stored.last().unwrap().decode().unwrap();
    assert_eq!((record.events.len(), record.base.get(), record.last_sequence().get()), (3, 0, 3));
}

/// Draining finishes what was begun, turns the rest away, and says when it is done.
#[test]
fn a_drained_engine_has_answered_everything() {
    let mut driver = live(Limits::default());
    driver.log.hold();
    let begun = driver.submit("a", &Deposit { amount: 1 }, "k1");
    let held = driver.submit("b", &Deposit { amount: 1 }, "k2");
    driver.engine.drain();
    driver.flush();
    let turned_away = driver.submit("a", &Deposit { amount: 1 }, "k3");
    assert!(!driver.drained);
    driver.log.release_all();
    driver.settle();
    assert!(driver.drained);
    assert_eq!(number(&driver.answer(begun).unwrap()), 1);
    for caller in [held, turned_away] {
        assert!(matches!(outcome_of(&driver, caller), AskError::Moved { .. }));
    }
}

/// Promise G3: what was in the open batch when the leadership ended never reaches the log, whatever is asked of the engine afterwards.
#[test]
fn an_ended_engine_appends_nothing() {
    let mut driver = live(Limits::default());
    let before = driver.records().len();
    let open = driver.submit("a", &Deposit { amount: 1 }, "k1");
    driver.engine.depose();
    driver.flush();
    driver.tick(Duration::from_secs(1));
    let late = driver.submit("a", &Deposit { amount: 1 }, "k2");
    driver.flush();
    assert!(driver.appends.is_empty());
    assert_eq!(outcome_of(&driver, open).outcome(), Outcome::Unknown);
    assert!(matches!(
        outcome_of(&driver, late),
        AskError::Unavailable { outcome: Outcome::NotApplied, .. }
    ));
    assert_eq!(driver.records().len(), before);
}
