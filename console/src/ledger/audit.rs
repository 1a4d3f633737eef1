//! The audit: compares what callers were told with what is stored. Pure: it is fed the ledger, then every record, and judges.

use std::collections::HashMap;

use super::entry::{Acknowledged, Entry, Told};
use super::problem::{Problem, Verdict};

/// One stored record, as far as the audit looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// Its shard.
    pub shard: u32,
    /// Its offset.
    pub offset: u64,
    /// Its entity, as `type/id`.
    pub entity: String,
    /// The entity's sequence number before its events.
    pub base: u64,
    /// How many events it holds.
    pub events: u64,
    /// The key of its command.
    pub key: String,
    /// What its events add to the balance; zero where there is no such thing.
    pub change: i128,
}

/// Compares a ledger with the log. Feed [`Audit::expect`] every line and [`Audit::see`] every record of every shard in offset order, the shards
/// in any order; [`Audit::verdict`] judges what was fed so far, [`Audit::finish`] everything.
///
/// Before each judgement the ledger must have been read first and the log after it: then each acknowledged command must be in it, while the log
/// may hold more. Lines and records may be added after a judgement, so that a run that goes on is judged again and again without being read again.
#[derive(Debug, Default)]
pub struct Audit {
    /// Lines whose record was not seen yet.
    expected: HashMap<KeyOfEntity, Told>,
    /// Where each key stands first.
    keys: HashMap<KeyOfEntity, Stored>,
    last_offset: HashMap<u32, u64>,
    entities: HashMap<String, Standing>,
    verdict: Verdict,
}

type KeyOfEntity = (String, String);

/// A stored command, as far as an answer to it can be compared with it.
#[derive(Debug, Clone, Copy)]
struct Stored {
    shard: u32,
    offset: u64,
    events: u64,
    /// The entity's sequence number after it.
    seq: u64,
    /// The entity's balance after it.
    balance: i128,
    heard: Heard,
}

/// What the ledger said about a stored command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Unknown,
    Answer,
}

#[derive(Debug, Default)]
struct Standing {
    seq: u64,
    balance: i128,
}

impl Audit {
    /// An audit that expects nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one line of the ledger. Several lines of the same key count once; an answer outweighs an unknown outcome. Reads leave no record.
    pub fn expect(&mut self, entry: Entry) {
        if entry.is_read() {
            return;
        }
        let key = (entry.entity, entry.key);
        if let Some(&stored) = self.keys.get(&key) {
            let heard = self.compare(&key, stored, &entry.told);
            self.keys.insert(key, Stored { heard, ..stored });
            return;
        }
        let settled = self.expected.get(&key).is_some_and(is_answer);
        if !settled {
            self.expected.insert(key, entry.told);
        }
    }

    /// Takes the next record of a shard.
    pub fn see(&mut self, record: SeenRecord) {
        self.verdict.records += 1;
        self.follow_offset(&record);
        let balance = self.follow_entity(&record);
        let key = (record.entity, record.key);
        if let Some(first) = self.keys.get(&key) {
            self.verdict.add(Problem::Doubled {
                first: first.offset,
                entity: key.0,
                key: key.1,
                shard: record.shard,
                second: record.offset,
            });
            return;
        }
        let mut stored = Stored {
            shard: record.shard,
            offset: record.offset,
            events: record.events,
            seq: record.base + record.events,
            balance,
            heard: Heard::Nothing,
        };
        if let Some(told) = self.expected.remove(&key) {
            stored.heard = self.compare(&key, stored, &told);
        }
        self.keys.insert(key, stored);
    }

    /// The verdict over everything fed so far; more may follow.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdict = self.verdict.clone();
        let mut absent: Vec<_> = self.expected.iter().collect();
        absent.sort_by_key(|(key, _)| *key);
        for ((entity, key), told) in absent {
            let (shard, offset) = match told {
                Told::Accepted(place) | Told::Rejected(place) => (place.shard, place.offset),
                Told::Refused => (0, 0),
                Told::Unknown { .. } => {
                    verdict.unknown_absent += 1;
                    continue;
                }
                Told::NotApplied { .. } => continue,
            };
            verdict.acknowledged += 1;
            let (entity, key) = (entity.clone(), key.clone());
            verdict.add(Problem::Missing { entity, key, shard, offset });
        }
        verdict.entities = self.entities.len() as u64;
        verdict.total_balance = self.entities.values().map(|standing| standing.balance).sum();
        verdict
    }

    /// The verdict over everything seen.
    #[must_use]
    pub fn finish(self) -> Verdict {
        self.verdict()
    }

    /// How far a shard was seen.
    #[must_use]
    pub fn seen_to(&self, shard: u32) -> u64 {
        self.last_offset.get(&shard).copied().unwrap_or_default()
    }

    fn follow_offset(&mut self, record: &SeenRecord) {
        let last = self.last_offset.entry(record.shard).or_default();
        if record.offset != *last + 1 {
            self.verdict.add(Problem::OffsetGap {
                shard: record.shard,
                expected: *last + 1,
                found: record.offset,
            });
        }
        // After a gap the audit goes on from what it saw, so that one hole is one problem.
        *last = record.offset;
    }

    fn follow_entity(&mut self, record: &SeenRecord) -> i128 {
        if !self.entities.contains_key(&record.entity) {
            self.entities.insert(record.entity.clone(), Standing::default());
        }
        let standing = self.entities.get_mut(&record.entity).expect("inserted above");
        if record.base != standing.seq {
            self.verdict.add(Problem::SequenceGap {
                entity: record.entity.clone(),
                expected: standing.seq,
                found: record.base,
                offset: record.offset,
            });
        }
        standing.seq = record.base + record.events;
        standing.balance += record.change;
        standing.balance
    }

    fn compare(&mut self, key: &KeyOfEntity, stored: Stored, told: &Told) -> Heard {
        if stored.heard == Heard::Answer || (stored.heard == Heard::Unknown && !is_answer(told)) {
            return stored.heard;
        }
        if stored.heard == Heard::Unknown {
            // The same key was sent again, and now there is an answer.
            self.verdict.unknown_applied -= 1;
        }
        let (entity, name) = (|| key.0.clone(), || key.1.clone());
        match told {
            Told::Rejected(_) | Told::Refused if stored.events > 0 => {
                self.verdict.acknowledged += 1;
                self.verdict.add(Problem::Altered {
                    entity: entity(),
                    key: name(),
                    told: "a rejection".into(),
                    stored: format!("{} events at offset {}", stored.events, stored.offset),
                });
            }
            Told::Accepted(place) | Told::Rejected(place) => {
                self.verdict.acknowledged += 1;
                match disagreement(key, stored, place) {
                    None => self.verdict.read_back += 1,
                    Some(problem) => self.verdict.add(problem),
                }
            }
            Told::Refused => {
                self.verdict.acknowledged += 1;
                self.verdict.read_back += 1;
            }
            Told::Unknown { .. } => {
                self.verdict.unknown_applied += 1;
                return Heard::Unknown;
            }
            Told::NotApplied { .. } => self.verdict.add(Problem::AppliedAfterAll {
                entity: entity(),
                key: name(),
                shard: stored.shard,
                offset: stored.offset,
            }),
        }
        Heard::Answer
    }
}

const fn is_answer(told: &Told) -> bool {
    matches!(told, Told::Accepted(_) | Told::Rejected(_) | Told::Refused)
}

fn disagreement(key: &KeyOfEntity, stored: Stored, told: &Acknowledged) -> Option<Problem> {
    let (entity, name) = key.clone();
    if (told.shard, told.offset, told.seq) != (stored.shard, stored.offset, stored.seq) {
        let place = |shard, offset, seq| format!("shard {shard}, offset {offset}, seq {seq}");
        return Some(Problem::Altered {
            entity,
            key: name,
            told: place(told.shard, told.offset, told.seq),
            stored: place(stored.shard, stored.offset, stored.seq),
        });
    }
    let named = told.balance?;
    (i128::from(named) != stored.balance).then_some(Problem::Balance {
        entity,
        seq: stored.seq,
        told: named,
        stored: stored.balance,
    })
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
