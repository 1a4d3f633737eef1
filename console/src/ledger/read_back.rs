//! Reads every shard back and audits a ledger against it.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;

use super::audit::{Audit, SeenRecord};
use super::file::LedgerReader;
use super::order::{Order, OrderVerdict};
use super::problem::Verdict;

/// Where records are read back from: the cluster, through whatever door.
pub trait RecordSource {
    /// How many shards there are.
    fn shards(&self) -> impl Future<Output = Result<u32, ReadBackError>>;

    /// The records of a shard after an offset, oldest first; empty at the end of the log.
    fn records_after(
        &self,
        shard: u32,
        after: u64,
    ) -> impl Future<Output = Result<Vec<SeenRecord>, ReadBackError>>;
}

/// Why the records could not be read back: then there is no verdict, and none is printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBackError {
    /// The ledger itself.
    #[error("the ledger cannot be read")]
    Ledger(#[source] std::io::Error),
    /// A shard gave no answer.
    #[error("shard {shard} cannot be read after offset {after}: {reason}")]
    Shard {
        /// The shard.
        shard: u32,
        /// How far it was read.
        after: u64,
        /// What went wrong.
        reason: String,
    },
    /// No node answered.
    #[error("the cluster cannot be asked: {0}")]
    Unreachable(String),
}

/// Audits a ledger file: first the file, then all shards, so that each line of the file must be found.
///
/// # Errors
/// [`ReadBackError`] when either cannot be read to its end.
pub async fn audit_file(
    ledger: &Path,
    source: &impl RecordSource,
) -> Result<Verdict, ReadBackError> {
    let mut follower = LedgerFollower::new(ledger);
    follower.catch_up(source).await?;
    Ok(follower.audit.finish())
}

/// Audits a ledger that is still being written, reading every line and every record once.
#[derive(Debug)]
pub struct LedgerFollower {
    reader: LedgerReader,
    audit: Audit,
    order: Order,
    last_writes: HashMap<String, u64>,
}

impl LedgerFollower {
    /// Begins at the beginning of a ledger.
    #[must_use]
    pub fn new(ledger: &Path) -> Self {
        Self {
            reader: LedgerReader::new(ledger),
            audit: Audit::new(),
            order: Order::default(),
            last_writes: HashMap::new(),
        }
    }

    /// Reads what was added to the ledger, and after it what was added to the shards; gives the verdict over everything so far.
    ///
    /// # Errors
    /// [`ReadBackError`] when either cannot be read to its end.
    pub async fn catch_up(&mut self, source: &impl RecordSource) -> Result<Verdict, ReadBackError> {
        self.read_told().map_err(ReadBackError::Ledger)?;
        for shard in 0..source.shards().await? {
            loop {
                let records = source.records_after(shard, self.audit.seen_to(shard)).await?;
                if records.is_empty() {
                    break;
                }
                for record in records {
                    self.order.stored(&record);
                    self.audit.see(record);
                }
            }
        }
        Ok(self.audit.verdict())
    }

    /// Reads what was added to the ledger, without a look at the shards.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_told(&mut self) -> std::io::Result<()> {
        let (audit, order, last_writes) = (&mut self.audit, &mut self.order, &mut self.last_writes);
        self.reader.read_new(|entry| {
            order.told(&entry);
            if let Some(place) = entry.acknowledged().filter(|_| !entry.is_read()) {
                let last = last_writes.entry(place.served_by.clone()).or_default();
                *last = entry.sent_us.max(*last);
            }
            audit.expect(entry);
        })?;
        Ok(())
    }

    /// When the last write was sent that a node acknowledged, as far as the ledger was read. In microseconds since the epoch; the node as the ledger
    /// names it.
    #[must_use]
    pub fn last_write_of(&self, node: &str) -> Option<u64> {
        self.last_writes.get(node).copied()
    }

    /// Judges the order of everything that was read: whether each entity behaved as if its commands had happened one after another.
    #[must_use]
    pub fn judge_order(&self) -> OrderVerdict {
        self.order.judge()
    }
}
