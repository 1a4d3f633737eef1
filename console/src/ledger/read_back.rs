//! Reads every shard back and audits a ledger against it.

use std::future::Future;
use std::path::Path;

use super::audit::{Audit, SeenRecord};
use super::file::read_ledger;
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
    let mut audit = Audit::new();
    read_ledger(ledger, |entry| audit.expect(entry)).map_err(ReadBackError::Ledger)?;
    for shard in 0..source.shards().await? {
        let mut after = 0;
        loop {
            let records = source.records_after(shard, after).await?;
            let Some(last) = records.last() else { break };
            after = last.offset;
            records.into_iter().for_each(|record| audit.see(record));
        }
    }
    Ok(audit.finish())
}
