//! The limits of a store and the seam to the disk, with defaults.

use std::sync::Arc;

use super::disk::Disk;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes of sled's page cache. sled's memory grows to about this and stays there.
    pub cache_bytes: u64,
    /// Bytes that one group commit takes at most (one larger commit is a group of its own). 4 MiB is about 10 ms of a slow disk.
    pub group_bytes: usize,
    /// Operations that one group commit takes at most.
    pub group_ops: usize,
    /// Bytes that may wait for the committer: 32 shards with 8 batches of 1 MiB in flight each, and as much again for replication.
    pub queue_bytes: u64,
    /// Entries of all logs together after which the side file is written again. Each writing is three fsyncs beside those of
    /// the group commits; the tail file covers the time between.
    pub side_file_every: u64,
    /// Whether the indexes of the logs say which records belong to a conversation. Without, whoever looks for one has to read the log.
    pub correlation_index: bool,
    /// Where writes and fsyncs pass through, so that tests can hold them or make them fail.
    pub disk: Arc<Disk>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 * 1024 * 1024,
            group_bytes: 4 * 1024 * 1024,
            group_ops: 4_096,
            queue_bytes: 512 * 1024 * 1024,
            side_file_every: 32_768,
            correlation_index: true,
            disk: Arc::default(),
        }
    }
}
