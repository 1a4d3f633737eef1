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

/// Compares a ledger with the log. Feed [`Audit::expect`] every line, then [`Audit::see`] every record of every shard in offset order, the
/// shards in any order; [`Audit::finish`] gives the verdict.
///
/// The ledger must have been read before the log: then each acknowledged command must be in it, while the log may hold more.
#[derive(Debug, Default)]
pub struct Audit {
    expected: HashMap<KeyOfEntity, Expected>,
    /// Where each key stands first.
    keys: HashMap<KeyOfEntity, u64>,
    last_offset: HashMap<u32, u64>,
    entities: HashMap<String, Standing>,
    verdict: Verdict,
}

type KeyOfEntity = (String, String);

#[derive(Debug)]
struct Expected {
    told: Told,
    found: bool,
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

    /// Takes one line of the ledger. Several lines of the same key count once; an answer outweighs an unknown outcome.
    pub fn expect(&mut self, entry: Entry) {
        let key = (entry.entity, entry.key);
        let settled = matches!(
            self.expected.get(&key),
            Some(Expected { told: Told::Accepted(_) | Told::Rejected(_) | Told::Refused, .. })
        );
        if settled {
            return;
        }
        self.expected.insert(key, Expected { told: entry.told, found: false });
    }

    /// Takes the next record of a shard.
    pub fn see(&mut self, record: SeenRecord) {
        self.verdict.records += 1;
        self.follow_offset(&record);
        let balance = self.follow_entity(&record);
        let key = (record.entity.clone(), record.key.clone());
        if let Some(&first) = self.keys.get(&key) {
            self.verdict.add(Problem::Doubled {
                entity: record.entity,
                key: record.key,
                shard: record.shard,
                first,
                second: record.offset,
            });
            return;
        }
        self.compare(&key, &record, balance);
        self.keys.insert(key, record.offset);
    }

    /// The verdict over everything seen.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        let mut absent: Vec<_> =
            self.expected.into_iter().filter(|(_, expected)| !expected.found).collect();
        absent.sort_by(|(a, _), (b, _)| a.cmp(b));
        for ((entity, key), Expected { told, .. }) in absent {
            match told {
                Told::Accepted(place) | Told::Rejected(place) => {
                    self.verdict.acknowledged += 1;
                    self.verdict.add(Problem::Missing {
                        entity,
                        key,
                        shard: place.shard,
                        offset: place.offset,
                    });
                }
                Told::Refused => {
                    self.verdict.acknowledged += 1;
                    self.verdict.add(Problem::Missing { entity, key, shard: 0, offset: 0 });
                }
                Told::Unknown { .. } => self.verdict.unknown_absent += 1,
                Told::NotApplied { .. } => {}
            }
        }
        self.verdict.entities = self.entities.len() as u64;
        self.verdict.total_balance = self.entities.values().map(|standing| standing.balance).sum();
        self.verdict
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

    fn compare(&mut self, key: &KeyOfEntity, record: &SeenRecord, balance: i128) {
        let Some(expected) = self.expected.get_mut(key) else { return };
        expected.found = true;
        match &expected.told {
            Told::Rejected(_) | Told::Refused if record.events > 0 => {
                self.verdict.acknowledged += 1;
                self.verdict.add(Problem::Altered {
                    entity: record.entity.clone(),
                    key: record.key.clone(),
                    told: "a rejection".into(),
                    stored: format!("{} events at offset {}", record.events, record.offset),
                });
            }
            Told::Accepted(place) | Told::Rejected(place) => {
                self.verdict.acknowledged += 1;
                match disagreement(record, place, balance) {
                    None => self.verdict.read_back += 1,
                    Some(problem) => self.verdict.add(problem),
                }
            }
            Told::Refused => {
                self.verdict.acknowledged += 1;
                self.verdict.read_back += 1;
            }
            Told::Unknown { .. } => self.verdict.unknown_applied += 1,
            Told::NotApplied { .. } => self.verdict.add(Problem::AppliedAfterAll {
                entity: record.entity.clone(),
                key: record.key.clone(),
                shard: record.shard,
                offset: record.offset,
            }),
        }
    }
}

fn disagreement(record: &SeenRecord, told: &Acknowledged, balance: i128) -> Option<Problem> {
    let seq = record.base + record.events;
    if (told.shard, told.offset, told.seq) != (record.shard, record.offset, seq) {
        let place = |shard, offset, seq| format!("shard {shard}, offset {offset}, seq {seq}");
        return Some(Problem::Altered {
            entity: record.entity.clone(),
            key: record.key.clone(),
            told: place(told.shard, told.offset, told.seq),
            stored: place(record.shard, record.offset, seq),
        });
    }
    let named = told.balance?;
    (i128::from(named) != balance).then(|| Problem::Balance {
        entity: record.entity.clone(),
        seq,
        told: named,
        stored: balance,
    })
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
