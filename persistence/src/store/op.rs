//! What can be asked of the store: the operations, and the name of a log.

use std::fmt;

use bytes::Bytes;
use holm_core::ShardId;

/// The number of a log in the store. The log of a shard has the shard's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

impl LogId {
    /// The log of the cluster's own facts.
    pub const CLUSTER: Self = Self(u32::MAX);
}

impl From<ShardId> for LogId {
    fn from(shard: ShardId) -> Self {
        Self(shard.0)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CLUSTER { f.write_str("cluster") } else { self.0.fmt(f) }
    }
}

impl Op {
    /// The log that it changes.
    pub(super) const fn log(&self) -> LogId {
        match self {
            Self::Append { log, .. }
            | Self::TruncateFrom { log, .. }
            | Self::PurgeTo { log, .. }
            | Self::PutRecord { log, .. } => *log,
        }
    }
}

/// One change of one log. The changes of one `commit` become durable together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds an entry. Its index must be the one after the log's last entry; the first entry of an empty log may have any index.
    Append {
        /// The log.
        log: LogId,
        /// The entry's index.
        index: u64,
        /// What it holds.
        value: Bytes,
    },
    /// Removes the entry `index` and everything after it.
    TruncateFrom {
        /// The log.
        log: LogId,
        /// The first entry that goes.
        index: u64,
    },
    /// Removes everything up to and including the entry `index`.
    PurgeTo {
        /// The log.
        log: LogId,
        /// The last entry that goes.
        index: u64,
    },
    /// Writes a small named record of the log, such as a vote or a term.
    PutRecord {
        /// The log.
        log: LogId,
        /// The record's name, at most 64 bytes.
        name: &'static str,
        /// What it holds; all records of a log together have at most 16 KiB.
        value: Bytes,
    },
}
