//! The supervisor of a shard: which entities failed lately, how often, and what may be done with them now. Pure; time is a parameter.
//!
//! It is asked only when an entity is not in memory, so an entity that is well costs nothing. What it knows is a cache: counts and waits may be
//! forgotten at any time, which forgives an entity, and a quarantine stands in the log ([`super::quarantine`]).
//!
//! The time is the shard's own ([`super::running_time`]): a clock that is set back keeps no entity out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use holm_core::{FailureId, Offset, SequenceNumber, Timestamp};

use crate::supervision::Supervision;

/// Failures that are counted for one entity. Nobody needs a higher limit, and it bounds what an entity costs.
const MOST_COUNTED: usize = 64;

/// The entities of a shard that failed lately.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// By type and id, in an order of its own: what is forgotten first is the same in every run.
    troubled: BTreeMap<u16, BTreeMap<Box<str>, Trouble>>,
    length: usize,
    most: usize,
}

#[derive(Debug)]
struct Trouble {
    failures: VecDeque<Timestamp>,
    /// How long a failure counts.
    within: Duration,
    last: Timestamp,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// It may come back.
    No,
    Until(Timestamp),
    Quarantined(Quarantine),
}

/// What keeps an entity in quarantine, and where its chain of records ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quarantine {
    pub(super) failure: FailureId,
    pub(super) reason: Box<str>,
    /// The record that says so: the newest of the entity.
    pub(super) offset: Offset,
    pub(super) sequence: SequenceNumber,
}

/// What is to be done with an entity that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Bring it back now.
    Again,
    /// Bring it back for the first command after this time.
    After(Duration),
    /// Bring it back for the next command.
    Stop,
    /// Do not bring it back.
    Quarantine,
}

/// Whether an entity that is not in memory may be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission<'a> {
    Free,
    /// After this time.
    Later(Duration),
    Never(&'a Quarantine),
}

impl Supervisor {
    pub(super) fn new(most: usize) -> Self {
        Self { troubled: BTreeMap::new(), length: 0, most: most.max(1) }
    }

    /// An entity failed. Also says which failure in its window that is.
    pub(super) fn failed(
        &mut self,
        (kind, id): (u16, &str),
        supervision: Supervision,
        now: Timestamp,
    ) -> (Decision, u32) {
        let (limit, within) = match supervision {
            Supervision::Resume => return (Decision::Again, 1),
            Supervision::Stop => return (Decision::Stop, 1),
            Supervision::Restart { limit, within, .. } => (limit, within),
            Supervision::Quarantine { failures, within } => (failures, within),
        };
        let trouble = self.entry(kind, id, now);
        trouble.within = within;
        trouble.failures.retain(|failure| now.since(*failure) < within);
        if trouble.failures.len() == MOST_COUNTED {
            trouble.failures.pop_front();
        }
        trouble.failures.push_back(now);
        trouble.last = now;
        let attempt = u32::try_from(trouble.failures.len()).unwrap_or(u32::MAX);
        if attempt >= limit.clamp(1, MOST_COUNTED as u32) {
            return (Decision::Quarantine, attempt);
        }
        let wait = match supervision {
            Supervision::Restart { first_wait, longest_wait, .. } if attempt > 1 => {
                first_wait.saturating_mul(1 << (attempt - 2).min(20)).min(longest_wait)
            }
            _ => Duration::ZERO,
        };
        if wait.is_zero() {
            trouble.held = Held::No;
            return (Decision::Again, attempt);
        }
        trouble.held = Held::Until(now.plus(wait));
        (Decision::After(wait), attempt)
    }

    /// An entity cannot be read, by no fault of its own: it is left alone for a while, and that is not counted.
    pub(super) fn wait(&mut self, (kind, id): (u16, &str), wait: Duration, now: Timestamp) {
        self.entry(kind, id, now).held = Held::Until(now.plus(wait));
    }

    /// An entity is in quarantine.
    pub(super) fn keep(&mut self, (kind, id): (u16, &str), quarantine: Quarantine, now: Timestamp) {
        self.entry(kind, id, now).held = Held::Quarantined(quarantine);
    }

    /// Whether an entity may be brought back now.
    pub(super) fn admit(&self, (kind, id): (u16, &str), now: Timestamp) -> Admission<'_> {
        let trouble = self.troubled.get(&kind).and_then(|ids| ids.get(id));
        match trouble.map(|trouble| &trouble.held) {
            Some(Held::Quarantined(quarantine)) => Admission::Never(quarantine),
            Some(Held::Until(until)) if *until > now => Admission::Later(until.since(now)),
            _ => Admission::Free,
        }
    }

    /// Everything about an entity is forgiven.
    pub(super) fn forgive(&mut self, (kind, id): (u16, &str)) {
        if let Some(ids) = self.troubled.get_mut(&kind)
            && ids.remove(id).is_some()
        {
            self.length -= 1;
        }
    }

    /// Forgets what counts no more.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.length == 0 {
            return;
        }
        let counts = |trouble: &Trouble| match trouble.held {
            Held::Quarantined(_) => true,
            Held::Until(until) if until > now => true,
            _ => now.since(trouble.last) < trouble.within,
        };
        for ids in self.troubled.values_mut() {
            ids.retain(|_, trouble| counts(trouble));
        }
        self.length = self.troubled.values().map(BTreeMap::len).sum();
    }

    /// How many entities it keeps in quarantine, as far as it knows.
    pub(super) fn quarantined(&self) -> u64 {
        let troubled = self.troubled.values().flat_map(BTreeMap::values);
        troubled.filter(|trouble| matches!(trouble.held, Held::Quarantined(_))).count() as u64
    }

    fn entry(&mut self, kind: u16, id: &str, now: Timestamp) -> &mut Trouble {
        let known = self.troubled.get(&kind).is_some_and(|ids| ids.contains_key(id));
        if !known {
            if self.length >= self.most {
                self.forget_one();
            }
            self.length += 1;
        }
        self.troubled.entry(kind).or_default().entry(id.into()).or_insert_with(|| Trouble {
            failures: VecDeque::new(),
            within: Duration::ZERO,
            last: now,
            held: Held::No,
        })
    }

    /// Those in quarantine go first: the log knows them, and the next command finds it there.
    fn forget_one(&mut self) {
        let rank =
            |trouble: &Trouble| (!matches!(trouble.held, Held::Quarantined(_)), trouble.last);
        let all = self.troubled.iter().flat_map(|(kind, ids)| {
            ids.iter().map(move |(id, trouble)| (rank(trouble), *kind, id))
        });
        if let Some((_, kind, id)) = all.min().map(|(rank, kind, id)| (rank, kind, id.clone())) {
            self.forgive((kind, &id));
        }
    }
}

#[cfg(test)]
#[path = "supervision/tests.rs"]
mod tests;
