//! Why the store could not do what was asked. Every message names the directory or the entry, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::LogId;

/// An error of the store. It can be cloned, because one failed group is told to everyone in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the data directory open.
    #[error("{} is in use by another process", .dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of {} is full (while {during}); free some space, nothing is lost that was acknowledged", .dir.display())]
    DiskFull {
        /// The data directory.
        dir: PathBuf,
        /// What was being done.
        during: &'static str,
    },
    /// The operating system refused.
    #[error("{}: {during} failed: {reason}", .dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// What was being done.
        during: &'static str,
        /// What the system said.
        reason: String,
    },
    /// The database in the directory is damaged: sled found corruption, or panicked.
    #[error("the database in {} is damaged (while {during}): {reason}", .dir.display())]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What was being done.
        during: &'static str,
        /// What sled said.
        reason: String,
    },
    /// The side file is missing although there is a database, so nobody can say whether the database is whole.
    #[error("{} has a database but no {}: restore the directory as a whole", .dir.display(), super::side_file::SIDE_FILE_NAME)]
    SideFileMissing {
        /// The data directory.
        dir: PathBuf,
    },
    /// The side file cannot be understood.
    #[error("{}: {reason}", .path.display())]
    SideFileDamaged {
        /// The side file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Entries that were durable are gone.
    #[error(
        "{}: log {log} must reach entry {expected} but {}: acknowledged entries are missing",
        .dir.display(), ends_at(.found.as_ref())
    )]
    EntriesMissing {
        /// The data directory.
        dir: PathBuf,
        /// The log.
        log: LogId,
        /// The last entry that must be there.
        expected: u64,
        /// The last entry that is there.
        found: Option<u64>,
    },
    /// One entry is missing or altered.
    #[error("{}: log {log}, entry {index}: {reason}", .dir.display())]
    EntryDamaged {
        /// The data directory.
        dir: PathBuf,
        /// The log.
        log: LogId,
        /// The entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// An operation does not fit the log, for example an entry that leaves a gap. Nothing of its commit was done.
    #[error("log {log}: {reason}")]
    Refused {
        /// The log.
        log: LogId,
        /// Which rule was broken.
        reason: String,
    },
    /// More is waiting for the disk than the limit allows. Nothing of this commit was done.
    #[error("overloaded: queue_bytes of {allowed} is used up")]
    QueueFull {
        /// The limit.
        allowed: u64,
    },
    /// An earlier write failed, so nothing is accepted until the store is reopened and verified.
    #[error("{} takes no writes since an earlier failure ({reason}); reopen it", .dir.display())]
    Poisoned {
        /// The data directory.
        dir: PathBuf,
        /// The failure.
        reason: String,
    },
    /// The store was reopened since this index was opened; open the index again.
    #[error("the store was reopened since the index of log {log} was opened")]
    Reopened {
        /// The log.
        log: LogId,
    },
    /// The store was closed.
    #[error("{} is closed", .dir.display())]
    Closed {
        /// The data directory.
        dir: PathBuf,
    },
}

impl StoreError {
    /// True when room on the disk is what is missing: it heals by reopening when there is space again.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    pub(super) fn io(dir: &Path, during: &'static str, error: &io::Error) -> Self {
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full {
            Self::DiskFull { dir: dir.to_owned(), during }
        } else {
            Self::Io { dir: dir.to_owned(), during, reason: error.to_string() }
        }
    }

    pub(super) fn sled(dir: &Path, during: &'static str, error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::io(dir, during, error),
            other => Self::Damaged { dir: dir.to_owned(), during, reason: other.to_string() },
        }
    }
}

fn ends_at(found: Option<&u64>) -> String {
    found.map_or_else(|| "is empty".to_owned(), |last| format!("ends at entry {last}"))
}
