//! Linearizability of each entity, from what its callers saw. Pure: it is fed the ledger and every record, and judges.
//!
//! In general this question is hard, because the order in which things took effect must be guessed. Here it is known: an answer names the
//! sequence number of the entity that it saw or made. So a history is linearizable exactly when the order of those numbers never contradicts
//! real time (what was answered before something else was sent stands before it), and every read says what the events up to its number add up to.
//! That no number is given twice is the [`audit`](super::audit)'s part. A command whose outcome is unknown is open-ended: where it turns out to be
//! stored, it may have happened at any time after it was sent, and not before.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::audit::SeenRecord;
use super::entry::{Entry, Told};

/// Problems that are kept with their particulars; the rest is counted.
const LISTED_PROBLEMS: usize = 100;

/// What callers saw of each entity, and what is stored of it.
#[derive(Debug, Default)]
pub struct Order {
    entities: HashMap<String, History>,
}

#[derive(Debug, Default)]
struct History {
    seen: Vec<Seen>,
    /// Keys of commands with an open outcome, and when they were sent.
    open: HashMap<String, u64>,
    /// The sequence number after each stored command, and the balance then; in order.
    balances: Vec<(u64, i128)>,
}

/// One command as its caller saw it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sent_us: u64,
    /// When the answer came; never, for a command whose outcome stayed open.
    at_us: u64,
    /// The entity's sequence number that it saw or made.
    seq: u64,
    /// It made that number.
    wrote: bool,
    /// The balance that a read was told.
    read: Option<u64>,
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OrderProblem {
    /// An answer shows an older state than one that somebody had been shown before it was asked for.
    Stale {
        /// The entity.
        entity: String,
        /// The sequence number that was known already.
        known: u64,
        /// The one that was shown later.
        shown: u64,
        /// When the later command was sent, in microseconds since the epoch.
        sent_us: u64,
    },
    /// A read named a balance that the entity did not have at that sequence number.
    Untrue {
        /// The entity.
        entity: String,
        /// The sequence number that the read named.
        seq: u64,
        /// The balance that it named.
        told: u64,
        /// The sum of the stored events; none when no stored command ends at that number.
        stored: Option<i128>,
    },
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderVerdict {
    /// Entities judged.
    pub entities: u64,
    /// Answers and stored open outcomes judged.
    pub operations: u64,
    /// Of those, reads.
    pub reads: u64,
    /// Answers that contradict real time.
    pub stale: u64,
    /// Reads that named a wrong balance.
    pub untrue: u64,
    /// The first hundred of them.
    pub problems: Vec<OrderProblem>,
}

impl Order {
    /// Takes one line of the ledger.
    pub fn told(&mut self, entry: &Entry) {
        let history = self.entities.entry(entry.entity.clone()).or_default();
        let read = entry.is_read();
        match &entry.told {
            Told::Accepted(place) | Told::Rejected(place) => {
                history.open.remove(&entry.key);
                history.seen.push(Seen {
                    sent_us: entry.sent_us,
                    at_us: entry.at_us,
                    seq: place.seq,
                    wrote: !read && matches!(entry.told, Told::Accepted(_)),
                    read: place.balance.filter(|_| read),
                });
            }
            Told::Unknown { .. } if !read => {
                history.open.insert(entry.key.clone(), entry.sent_us);
            }
            // A refusal without a place says nothing about when; an unanswered read and what was not applied say nothing at all.
            Told::Refused | Told::Unknown { .. } | Told::NotApplied { .. } => {}
        }
    }

    /// Takes the next record of a shard, in offset order, when the lines of the ledger before it were taken.
    pub fn stored(&mut self, record: &SeenRecord) {
        let history = self.entities.entry(record.entity.clone()).or_default();
        let (seq, before) = (record.base + record.events, history.balances.last());
        let balance = before.map_or(0, |(_, balance)| *balance) + record.change;
        if record.events > 0 {
            history.balances.push((seq, balance));
        }
        if let Some(sent_us) = history.open.remove(&record.key) {
            let wrote = record.events > 0;
            history.seen.push(Seen { sent_us, at_us: u64::MAX, seq, wrote, read: None });
        }
    }

    /// Judges everything taken so far.
    #[must_use]
    pub fn judge(&self) -> OrderVerdict {
        let mut verdict = OrderVerdict::default();
        let mut entities: Vec<_> = self.entities.iter().collect();
        entities.sort_by_key(|(entity, _)| *entity);
        for (entity, history) in entities {
            verdict.entities += 1;
            history.judge(entity, &mut verdict);
        }
        verdict
    }
}

impl History {
    fn judge(&self, entity: &str, verdict: &mut OrderVerdict) {
        verdict.operations += self.seen.len() as u64;
        let mut by_sent = self.seen.clone();
        by_sent.sort_by_key(|seen| seen.sent_us);
        let mut by_answer: Vec<_> = self.seen.iter().map(|seen| (seen.at_us, seen.seq)).collect();
        by_answer.sort_unstable();
        let mut answered = by_answer.iter().peekable();
        let mut known = 0;
        for seen in by_sent {
            while let Some((_, seq)) = answered.next_if(|(at_us, _)| *at_us < seen.sent_us) {
                known = known.max(*seq);
            }
            // What writes must go beyond everything that was known; what reads may see the newest of it again.
            if seen.seq < known || (seen.wrote && seen.seq == known) {
                verdict.add_stale(entity, known, &seen);
            }
            if let Some(told) = seen.read {
                verdict.reads += 1;
                self.judge_read(entity, seen.seq, told, verdict);
            }
        }
    }

    fn judge_read(&self, entity: &str, seq: u64, told: u64, verdict: &mut OrderVerdict) {
        let place = self.balances.binary_search_by_key(&seq, |(seq, _)| *seq);
        let stored = match place {
            Ok(place) => Some(self.balances[place].1),
            Err(_) if seq == 0 => Some(0),
            Err(_) => None,
        };
        if stored != Some(i128::from(told)) {
            verdict.untrue += 1;
            let entity = entity.to_owned();
            verdict.list(OrderProblem::Untrue { entity, seq, told, stored });
        }
    }
}

impl OrderVerdict {
    /// True when every entity behaved as if its commands had happened one after another.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.stale == 0 && self.untrue == 0
    }

    fn add_stale(&mut self, entity: &str, known: u64, seen: &Seen) {
        self.stale += 1;
        self.list(OrderProblem::Stale {
            entity: entity.to_owned(),
            known,
            shown: seen.seq,
            sent_us: seen.sent_us,
        });
    }

    fn list(&mut self, problem: OrderProblem) {
        if self.problems.len() < LISTED_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
#[path = "order/tests.rs"]
mod tests;
