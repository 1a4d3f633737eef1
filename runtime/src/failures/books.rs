//! The books of one failure log: for each subject and kind of failure one row, so that a list needs no scan. Bounded; pure.

use std::collections::BTreeMap;

use holm_core::{FailureId, NodeId, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::{
    FailedCommand, FailureFact, FailureKind, KEPT_COMMAND_BYTES, Severity, Standing, Subject,
};

/// Rows of one log; sixteen logs make 8,192. Beyond it the oldest that is settled goes, and is counted; its events stay in the log.
const MOST_ROWS: usize = 512;

/// Bytes of all kept commands of one log together: 64 of the longest. Beyond it the oldest is forgotten, which leaves its retry to its caller.
const MOST_KEPT_BYTES: usize = 64 * KEPT_COMMAND_BYTES;

/// What is known of one subject's failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRow {
    /// The newest failure.
    pub failure: FailureId,
    /// What fails.
    pub subject: Subject,
    /// In which way.
    pub kind: FailureKind,
    /// How bad the newest is.
    pub severity: Severity,
    /// How many there were.
    pub count: u64,
    /// When it began.
    pub first: Timestamp,
    /// When it was last.
    pub last: Timestamp,
    /// What became of the subject.
    pub standing: Standing,
    /// What was said, the outermost cause first.
    pub causes: Vec<Box<str>>,
    /// On which node it was last.
    pub node: NodeId,
    /// In which shard.
    pub shard: Option<ShardId>,
    /// The command that failed last.
    pub command: Option<FailedCommand>,
    /// How it was settled; none while it is open, or where there is nothing to settle.
    pub settled: Option<Settlement>,
}

/// What somebody did about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Settlement {
    /// The command was asked again and got an answer.
    Retried,
    /// The command was given up.
    Skipped,
    /// The entity was let go on.
    Resumed,
}

impl FailureRow {
    fn new(fact: FailureFact) -> Self {
        let FailureFact { id, kind, severity, subject, command, causes, .. } = fact;
        Self {
            failure: id,
            subject,
            kind,
            severity,
            count: fact.count,
            first: fact.at,
            last: fact.at,
            standing: fact.standing,
            causes,
            node: fact.node,
            shard: fact.shard,
            command,
            settled: None,
        }
    }

    /// Whether somebody could do something about it: a command waits to be asked again or to be given up, or an entity to be let go on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let failed = self.kind == FailureKind::Panicked && self.command.is_some();
        self.settled.is_none() && (failed || self.is_quarantined())
    }

    /// Whether its entity is in quarantine.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.settled.is_none() && self.standing == Standing::Quarantined
    }

    fn kept_bytes(&self) -> usize {
        let payload = self.command.as_ref().and_then(|command| command.payload.as_ref());
        payload.map_or(0, bytes::Bytes::len)
    }
}

/// The rows of one log.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Books {
    /// By subject and kind, as text, which is the order of lists.
    rows: BTreeMap<String, FailureRow>,
    evicted: u64,
    kept_bytes: usize,
}

/// Where a row stands.
pub(super) fn row_key(subject: &Subject, kind: FailureKind) -> String {
    format!("{subject} {}", kind.name())
}

impl Books {
    pub(super) fn rows(&self) -> impl Iterator<Item = (&String, &FailureRow)> {
        self.rows.iter()
    }

    pub(super) fn after(&self, key: &str) -> impl Iterator<Item = (&String, &FailureRow)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.rows.range::<str, _>((Excluded(key), Unbounded))
    }

    pub(super) fn row(&self, key: &str) -> Option<&FailureRow> {
        self.rows.get(key)
    }

    /// Rows that had to go.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether this very failure is the newest of its row: then it was stored before.
    pub(super) fn knows(&self, fact: &FailureFact) -> bool {
        let row = self.rows.get(&row_key(&fact.subject, fact.kind));
        row.is_some_and(|row| row.failure == fact.id)
    }

    pub(super) fn failed(&mut self, fact: FailureFact) {
        let key = row_key(&fact.subject, fact.kind);
        let fresh = FailureRow::new(fact);
        self.kept_bytes += fresh.kept_bytes();
        match self.rows.get_mut(&key) {
            // Nodes report apart from each other, so an older one may come later: it counts, and says nothing about now.
            Some(row) if fresh.last < row.last => {
                row.count += fresh.count;
                row.first = row.first.min(fresh.first);
                self.kept_bytes -= fresh.kept_bytes();
            }
            Some(row) => {
                self.kept_bytes -= row.kept_bytes();
                let (count, first) = (row.count + fresh.count, row.first);
                *row = FailureRow { count, first, ..fresh };
            }
            None => {
                self.rows.insert(key, fresh);
            }
        }
        while self.rows.len() > MOST_ROWS {
            self.evict();
        }
        while self.kept_bytes > MOST_KEPT_BYTES {
            self.forget_a_command();
        }
    }

    pub(super) fn settled(&mut self, key: &str, failure: FailureId, how: Settlement) {
        let Some(row) = self.rows.get_mut(key).filter(|row| row.failure == failure) else { return };
        row.settled = Some(how);
        self.kept_bytes -= row.kept_bytes();
        if let Some(command) = &mut row.command {
            command.payload = None;
        }
    }

    /// The oldest that nobody waits for goes first, an entity in quarantine last: its row is what people find it by.
    fn evict(&mut self) {
        let rank = |row: &FailureRow| (row.is_quarantined(), row.is_open(), row.last);
        let oldest = self.rows.iter().min_by_key(|(_, row)| rank(row));
        if let Some(key) = oldest.map(|(key, _)| key.clone())
            && let Some(row) = self.rows.remove(&key)
        {
            self.kept_bytes -= row.kept_bytes();
            self.evicted += 1;
        }
    }

    fn forget_a_command(&mut self) {
        let keeping = self.rows.values_mut().filter(|row| row.kept_bytes() > 0);
        match keeping.min_by_key(|row| row.last) {
            Some(row) => {
                self.kept_bytes -= row.kept_bytes();
                if let Some(command) = &mut row.command {
                    command.payload = None;
                }
            }
            None => self.kept_bytes = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holm_core::{CausationId, CommandId, CorrelationId};

    fn fact(id: u128, subject: &str, kept: usize) -> FailureFact {
        let subject = Subject::Entity(subject.parse().unwrap());
        let at = Timestamp::from_millis(u64::try_from(id).unwrap());
        let mut fact = FailureFact::new(FailureId(id), FailureKind::Panicked, subject, at);
        fact.command = (kept > 0).then(|| FailedCommand {
            name: "add".into(),
            id: CommandId(id),
            correlation: CorrelationId(id),
            causation: CausationId(id),
            key: "k".into(),
            payload: Some(Bytes::from(vec![0; kept])),
        });
        fact
    }

    /// Promise G7: one row for each entity and kind, with the newest failure and the count of all.
    #[test]
    fn failures_of_one_subject_are_one_row() {
        let mut books = Books::default();
        for id in [5, 9, 7] {
            books.failed(fact(id, "account/a", 10));
        }
        let (key, row) = books.rows().next().unwrap();
        assert_eq!((&**key, row.count, row.failure), ("account/a panicked", 3, FailureId(9)));
        assert_eq!((row.first.as_millis(), row.last.as_millis()), (5, 9));
        assert_eq!(books.kept_bytes, 10);
        assert!(books.knows(&fact(9, "account/a", 0)) && row.is_open());
        let key = key.clone();
        books.settled(&key, FailureId(7), Settlement::Skipped);
        assert!(books.row(&key).unwrap().is_open(), "an older one was meant");
        books.settled(&key, FailureId(9), Settlement::Skipped);
        assert!(!books.row(&key).unwrap().is_open());
        assert_eq!(books.kept_bytes, 0);
    }

    /// Promise G9: rows and kept commands are bounded; what is settled goes first, and what went is counted.
    #[test]
    fn the_books_are_bounded() {
        let mut books = Books::default();
        let mut quarantined = fact(1, "account/q", 0);
        quarantined.standing = Standing::Quarantined;
        books.failed(quarantined);
        books.failed(fact(2, "account/open", 100));
        for id in 3..=(MOST_ROWS as u128 + 100) {
            books.failed(fact(id, &format!("account/{id}"), 0));
        }
        assert_eq!((books.rows.len(), books.evicted()), (MOST_ROWS, 100));
        assert!(books.row("account/q panicked").is_some());
        assert!(books.row("account/open panicked").is_some());
        for id in 10_000..10_100 {
            books.failed(fact(id, &format!("big/{id}"), KEPT_COMMAND_BYTES));
        }
        assert!(books.kept_bytes <= MOST_KEPT_BYTES);
        let kept: usize = books.rows().map(|(_, row)| row.kept_bytes()).sum();
        assert_eq!(kept, books.kept_bytes);
    }
}
