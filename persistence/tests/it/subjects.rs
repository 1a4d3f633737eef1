//! The logs under test.

use std::sync::Arc;

use holm_core::{ShardId, Term};
use holm_persistence::conformance::{Subject, wait};
use holm_persistence::{
    Disk, DiskPoint, FaultKind, MemoryLog, Opened, ShardLog, SledLog, Store, StoreOptions,
};
use tempfile::TempDir;

pub(crate) const SHARDS: u32 = 4;

/// A directory in memory where the system has one: what is tested with it does not depend on a disk, and hundreds of openings would wait for one.
pub(crate) fn fast_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The log in memory.
#[derive(Default)]
pub(crate) struct Memory {
    log: Arc<MemoryLog>,
    without_conversations: bool,
}

impl Memory {
    pub(crate) fn without_conversations() -> Self {
        let log = Arc::new(MemoryLog::without_correlation_index());
        Self { log, without_conversations: true }
    }
}

impl Subject for Memory {
    fn log(&self) -> Arc<dyn ShardLog> {
        self.log.clone()
    }

    fn lead(&mut self, shard: ShardId) -> (Term, Opened) {
        let term = self.log.newest_term(shard).next();
        (term, wait(self.log.open(shard, term)).unwrap())
    }

    fn reopen(&mut self) -> bool {
        false
    }

    fn break_next_append(&mut self, shard: ShardId) -> bool {
        self.log.fail_next_append(shard);
        true
    }

    fn knows_conversations(&self) -> bool {
        !self.without_conversations
    }
}

/// The single node's log, in a directory of its own.
pub(crate) struct Sled {
    dir: TempDir,
    pub(crate) disk: Arc<Disk>,
    log: Option<Arc<SledLog>>,
    with_conversations: bool,
}

impl Sled {
    pub(crate) fn new() -> Self {
        Self::with_conversations(true)
    }

    pub(crate) fn with_conversations(with_conversations: bool) -> Self {
        let dir = fast_directory();
        let disk = Arc::new(Disk::default());
        let log = Some(open(&dir, &disk, with_conversations));
        Self { dir, disk, log, with_conversations }
    }

    pub(crate) fn sled_log(&self) -> &Arc<SledLog> {
        self.log.as_ref().unwrap()
    }
}

fn open(dir: &TempDir, disk: &Arc<Disk>, correlation_index: bool) -> Arc<SledLog> {
    let (disk, cache_bytes) = (Arc::clone(disk), 16 << 20);
    let options = StoreOptions { disk, cache_bytes, correlation_index, ..StoreOptions::default() };
    Arc::new(SledLog::start(Store::open(dir.path(), options).unwrap(), SHARDS).unwrap())
}

impl Subject for Sled {
    fn log(&self) -> Arc<dyn ShardLog> {
        self.sled_log().clone()
    }

    fn lead(&mut self, shard: ShardId) -> (Term, Opened) {
        let term = self.sled_log().newest_term(shard).unwrap().next();
        (term, wait(self.sled_log().open(shard, term)).unwrap())
    }

    fn reopen(&mut self) -> bool {
        let log = self.log.take().unwrap();
        log.close().unwrap();
        drop(log);
        self.log = Some(open(&self.dir, &self.disk, self.with_conversations));
        true
    }

    fn break_next_append(&mut self, _shard: ShardId) -> bool {
        self.disk.fail(DiskPoint::Fsync, 1, FaultKind::Io);
        true
    }

    fn knows_conversations(&self) -> bool {
        self.with_conversations
    }

    fn heal(&mut self) {
        self.disk.heal();
    }
}
