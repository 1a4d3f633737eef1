//! The engine against a model: a map of balances, changed one command after the other in the order of the log.
//!
//! Random interleavings of commands, flushes, acknowledgements, loads in any order, ticks, failed and unsaid writes, panics, rests and reopenings.
//! Whatever happens, afterwards:
//! - every command was answered exactly once;
//! - an acknowledged command is in the log at the offset that its answer names, with the same verdict (G1), and a key is there at most once (G2);
//! - offsets and sequence numbers have no gap and no double (G4), and the log is what the model does in the same order (G5, G6, G10);
//! - a read saw the state after some durable record, never an older one than what was acknowledged before it was sent (G5);
//! - answers to writes left in the order of their offsets.

use std::collections::HashMap;
use std::time::Duration;

use holm_core::{Answer, AskError, Limits, Offset, Outcome, Verdict};
use holm_persistence::{StoredVerdict, decode};
use proptest::prelude::*;

use crate::account::{
    Balance, Collect, Deposit, DepositAndRest, Nothing, Panic, PanicAt, Refused, Withdraw,
};
use crate::driver::{Driver, SHARD};

#[derive(Debug, Clone)]
enum Step {
    Command {
        entity: u8,
        what: What,
    },
    /// Sends an earlier command again, with its key.
    Again {
        which: u16,
    },
    Flush,
    Acknowledge,
    Confirm,
    Load {
        which: u8,
    },
    Tick {
        seconds: u8,
    },
    FailNext,
    LoseNext,
    Reopen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Deposit(u8),
    Withdraw(u8),
    Collect(u8),
    Nothing,
    DepositAndRest,
    Panic(PanicAt),
    Balance,
}

#[derive(Debug, Clone)]
struct Sent {
    entity: u8,
    what: What,
    key: String,
    caller: usize,
    /// The newest record of this entity that had been acknowledged when this was sent.
    seen: Offset,
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => (1u8..9).prop_map(What::Deposit),
        4 => (1u8..12).prop_map(What::Withdraw),
        2 => (0u8..4).prop_map(What::Collect),
        1 => Just(What::Nothing),
        1 => Just(What::DepositAndRest),
        1 => prop_oneof![Just(PanicAt::Handle), Just(PanicAt::Apply), Just(PanicAt::Reply)].prop_map(What::Panic),
        4 => Just(What::Balance),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0u8..5, what()).prop_map(|(entity, what)| Step::Command { entity, what }),
        5 => any::<u16>().prop_map(|which| Step::Again { which }),
        8 => Just(Step::Flush),
        8 => Just(Step::Acknowledge),
        4 => Just(Step::Confirm),
        8 => any::<u8>().prop_map(|which| Step::Load { which }),
        2 => (0u8..90).prop_map(|seconds| Step::Tick { seconds }),
        1 => Just(Step::FailNext),
        1 => Just(Step::LoseNext),
        1 => Just(Step::Reopen),
    ]
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.snapshot_every, limits.live_entities, limits.concurrent_recoveries) = (4, 3, 2);
    (limits.batch_bytes, limits.batches_in_flight) = (900, 3);
    // Wide enough that no key is forgotten in one run.
    (limits.window_keys, limits.window_age) = (1_000, Duration::from_secs(1_000_000));
    limits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Promise G1. Promise G2. Promise G4. Promise G5. Promise G6. Promise G10.
    #[test]
    fn the_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..160)) {
        let mut run = Run::new();
        for step in steps {
            run.take(step);
        }
        run.finish()?;
    }
}

struct Run {
    driver: Driver,
    sent: Vec<Sent>,
}

impl Run {
    fn new() -> Self {
        let driver = Driver::new(limits());
        driver.log.hold();
        Self { driver, sent: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        let driver = &mut self.driver;
        match step {
            Step::Command { entity, what } => {
                let key = format!("k{}", self.sent.len());
                self.send(entity, what, key);
            }
            Step::Again { which } if !self.sent.is_empty() => {
                let earlier = self.sent[usize::from(which) % self.sent.len()].clone();
                self.send(earlier.entity, earlier.what, earlier.key);
            }
            Step::Again { .. } => {}
            Step::Flush => driver.flush(),
            Step::Acknowledge => {
                driver.log.release(1);
                driver.acknowledge();
            }
            Step::Confirm => _ = driver.confirm(),
            Step::Load { which } => _ = driver.load(usize::from(which)),
            Step::Tick { seconds } => driver.tick(Duration::from_secs(u64::from(seconds))),
            Step::FailNext => driver.log.fail_next_append(SHARD),
            Step::LoseNext => driver.log.lose_next_acknowledgement(SHARD),
            Step::Reopen => driver.reopen(),
        }
    }

    fn send(&mut self, entity: u8, what: What, key: String) {
        // The shell does not submit to a saturated engine.
        if self.driver.engine.is_saturated() {
            return;
        }
        let seen = self.acknowledged(entity);
        let (driver, id) = (&mut self.driver, format!("e{entity}"));
        let caller = match what {
            What::Deposit(amount) => driver.submit(&id, &Deposit { amount: amount.into() }, &key),
            What::Withdraw(amount) => driver.submit(&id, &Withdraw { amount: amount.into() }, &key),
            What::Collect(parts) => driver.submit(&id, &Collect { parts: parts.into() }, &key),
            What::Nothing => driver.submit(&id, &Nothing {}, &key),
            What::DepositAndRest => driver.submit(&id, &DepositAndRest {}, &key),
            What::Panic(at) => driver.submit(&id, &Panic { at }, &key),
            What::Balance => driver.submit(&id, &Balance {}, &key),
        };
        self.sent.push(Sent { entity, what, key, caller, seen });
    }

    fn acknowledged(&self, entity: u8) -> Offset {
        let of_entity = |caller: &usize| self.sent[*caller].entity == entity;
        let answers = self.driver.answers.iter().filter(|(caller, _, _)| of_entity(caller));
        let offsets = answers.filter_map(|(_, answer, _)| Some(answer.as_ref().ok()?.offset));
        offsets.max().unwrap_or_default()
    }

    fn finish(mut self) -> Result<(), TestCaseError> {
        self.driver.log.release_all();
        self.driver.settle();
        let states = self.check_log()?;
        self.check_answers(&states)?;
        // And from nothing but the log, everything is as it was.
        self.driver.reopen();
        for entity in 0..5u8 {
            let answer = self.driver.ask(&format!("e{entity}"), &Balance {}, "final");
            let last =
                states.get(&entity).and_then(|states| states.last()).map_or(0, |state| state.1);
            prop_assert_eq!(crate::driver::number(&answer), last);
        }
        Ok(())
    }

    /// The log is what the model does, record by record. Gives the balances of each entity after each of its records.
    fn check_log(&self) -> Result<HashMap<u8, Vec<(Offset, u64)>>, TestCaseError> {
        let by_key: HashMap<_, _> =
            self.sent.iter().map(|sent| (sent.key.as_str(), sent)).collect();
        let mut seen_keys = std::collections::HashSet::new();
        let mut states: HashMap<u8, Vec<(Offset, u64)>> = HashMap::new();
        let mut sequences: HashMap<u8, (Offset, u64)> = HashMap::new();
        for (index, stored) in self.driver.records().iter().enumerate() {
            prop_assert_eq!(stored.offset, Offset(index as u64 + 1), "offsets have no gap");
            let record = stored.decode().unwrap();
            let key = record.key.to_string();
            prop_assert!(seen_keys.insert(key.clone()), "{} took effect twice", key);
            let sent = by_key[key.as_str()];
            prop_assert_eq!(record.entity_id, format!("e{}", sent.entity));
            let (previous, sequence) = sequences.get(&sent.entity).copied().unwrap_or_default();
            prop_assert_eq!((record.previous, record.base.get()), (previous, sequence));
            let history = states.entry(sent.entity).or_default();
            let before = history.last().map_or(0, |state| state.1);
            let (events, after, accepted) = model(sent.what, before);
            prop_assert_eq!(record.events.len(), events);
            match record.verdict {
                StoredVerdict::Accepted(_) => prop_assert!(accepted),
                StoredVerdict::Rejected(bytes) => {
                    let refused: Refused = decode(bytes).unwrap();
                    prop_assert_eq!(refused, Refused::InsufficientFunds { balance: before });
                    prop_assert!(!accepted);
                }
            }
            history.push((stored.offset, after));
            sequences.insert(sent.entity, (stored.offset, sequence + events as u64));
        }
        Ok(states)
    }

    fn check_answers(&self, states: &HashMap<u8, Vec<(Offset, u64)>>) -> Result<(), TestCaseError> {
        let records = self.driver.records();
        let mut last = Offset::ZERO;
        for (caller, answer, durable) in &self.driver.answers {
            let sent = &self.sent[*caller];
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    Self::check_error(sent, error)?;
                    continue;
                }
            };
            prop_assert!(answer.offset <= *durable, "an answer left before its record was durable");
            if sent.what == What::Balance {
                prop_assert!(answer.offset >= sent.seen, "a stale read");
                let history = states.get(&sent.entity).map_or(&[][..], |history| history);
                let at = history.iter().rev().find(|(offset, _)| *offset <= answer.offset);
                prop_assert_eq!(
                    crate::driver::number(&Ok(answer.clone())),
                    at.map_or(0, |state| state.1)
                );
                continue;
            }
            let stored = &records[answer.offset.0 as usize - 1];
            let record = stored.decode().unwrap();
            prop_assert_eq!(record.key.to_string(), sent.key.clone());
            prop_assert_eq!(answer.sequence, record.last_sequence());
            prop_assert!(same_verdict(answer, record.verdict));
            if !answer.replayed {
                prop_assert!(answer.offset > last, "answers left out of order");
                last = answer.offset;
            }
        }
        for sent in &self.sent {
            prop_assert!(self.driver.answer(sent.caller).is_some(), "{:?} got no answer", sent);
        }
        Ok(())
    }

    fn check_error(sent: &Sent, error: &AskError) -> Result<(), TestCaseError> {
        match error {
            AskError::EntityFailed { .. } => prop_assert!(matches!(sent.what, What::Panic(_))),
            AskError::Interrupted { .. } => prop_assert_eq!(error.outcome(), Outcome::Unknown),
            AskError::Unavailable { .. }
            | AskError::Overloaded { .. }
            | AskError::Restarting { .. } => {}
            other => prop_assert!(false, "unexpected: {}", other),
        }
        Ok(())
    }
}

/// Events, balance afterwards, and whether it was accepted.
fn model(what: What, balance: u64) -> (usize, u64, bool) {
    match what {
        What::Deposit(amount) => (1, balance + u64::from(amount), true),
        What::Withdraw(amount) if balance < u64::from(amount) => (0, balance, false),
        What::Withdraw(amount) => (1, balance - u64::from(amount), true),
        What::Collect(parts) => (parts.into(), balance + u64::from(parts), true),
        What::Nothing => (0, balance, true),
        What::DepositAndRest => (1, balance + 1, true),
        What::Panic(_) | What::Balance => unreachable!("never recorded"),
    }
}

fn same_verdict(answer: &Answer, stored: StoredVerdict<'_>) -> bool {
    match (&answer.verdict, stored) {
        (Verdict::Accepted(a), StoredVerdict::Accepted(b)) => a[..] == *b,
        (Verdict::Rejected(a), StoredVerdict::Rejected(b)) => a[..] == *b,
        _ => false,
    }
}
