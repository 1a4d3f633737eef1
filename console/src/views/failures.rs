//! The documents about failures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /api/v1/failures`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FailuresDocument {
    /// By subject and kind.
    pub failures: Vec<FailureDocument>,
    /// Those that had to make room for others; what happened stands in the log.
    pub evicted: u64,
}

/// What is known of one subject's failures of one kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FailureDocument {
    /// The newest failure.
    pub id: String,
    /// Its kind, as in `panicked`.
    pub kind: String,
    /// `notice`, `warning`, `error` or `critical`.
    pub severity: String,
    /// What failed, as in `account/alice`, `shard 7` or `node 3`.
    pub subject: String,
    /// How many there were.
    pub count: u64,
    /// When it began.
    pub first: String,
    /// When it was last.
    pub last: String,
    /// What became of it: `running`, `restarting`, `stopped` or `quarantined`.
    pub standing: String,
    /// What was said, the outermost cause first.
    pub causes: Vec<String>,
    /// The name of the node, where it is known.
    pub node: String,
    /// The shard.
    pub shard: Option<u32>,
    /// The command that failed last.
    pub command: Option<FailedCommandDocument>,
    /// Whether somebody can do something about it.
    pub open: bool,
    /// What was done: `retried`, `skipped` or `resumed`.
    pub settled: Option<String>,
}

/// A command that failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FailedCommandDocument {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The conversation it belongs to.
    pub correlation_id: String,
    /// What caused it.
    pub causation_id: String,
    /// The key of its retries.
    pub idempotency_key: String,
}

/// The body of `POST /api/v1/failures:retry`, `:skip` and `:resume`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandleFailures {
    /// Which are meant: a kind, an entity type, the beginning of `type/id`, several of them with spaces between, or `all`.
    pub filter: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to that.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HandledDocument {
    /// Every open failure that was meant.
    pub handled: Vec<HandledFailure>,
    /// How many came to each outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// One failure that was meant, and what became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HandledFailure {
    /// The failure as it stood before.
    pub failure: FailureDocument,
    /// `meant` in a dry run, `done`, `rejected` (asked again, and the entity refused), `nothing` or `failed`.
    pub outcome: String,
    /// Why, where it is not `done`.
    pub detail: String,
}

/// `GET /api/v1/failures:count`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCountDocument {
    /// By kind: failures that somebody can do something about.
    pub open: BTreeMap<String, u64>,
    /// Entities in quarantine.
    pub quarantined: u64,
    /// All rows, the settled ones included.
    pub rows: u64,
}

impl FailureCountDocument {
    /// How many stand open.
    #[must_use]
    pub fn total_open(&self) -> u64 {
        self.open.values().sum()
    }
}
