//! A disk that is really full: a small tmpfs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use holm_core::{Offset, SeededEntropy, SequenceNumber, ShardId};
use holm_persistence::conformance::wait;
use holm_persistence::{
    AppendError, OpenError, ShardLog as _, SledLog, Store, StoreError, StoreOptions,
};
use tempfile::TempDir;

use crate::child::{ShardWriter, entity};
use crate::skipped::skipped;
use crate::subjects::SHARDS;

const SHARD: ShardId = ShardId(0);

/// A full disk is said to be full, loses nothing that was acknowledged, and heals in place when space returns.
#[test]
fn a_full_disk_is_named_and_heals_when_space_returns() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let data = disk.path().join("data");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
    let log = open(&data).unwrap();
    let mut writer = ShardWriter::open(&log, SHARD);
    let mut entropy = SeededEntropy::new(5);
    let mut acknowledged = Offset::ZERO;
    let error = loop {
        let batch = writer.batch(&mut entropy);
        let last = batch.last();
        match wait(log.append(batch)) {
            Ok(()) => acknowledged = last,
            Err(error) => break error,
        }
        assert!(acknowledged < Offset(1 << 20), "64 MiB are never full");
    };
    assert!(matches!(&error, AppendError::Unknown { .. }), "{error}");
    assert!(error.to_string().contains("is full"), "{error}");
    assert!(acknowledged > Offset(50), "something was written before");
    // Fill what sled's failed write may have left, then ask again.
    let _ = std::fs::write(disk.path().join("more"), vec![1; 64 << 20]);
    let term = log.newest_term(SHARD).unwrap().next();
    let refused = wait(log.open(SHARD, term)).unwrap_err();
    assert!(matches!(&refused, OpenError::Log { .. }), "{refused}");
    assert!(refused.to_string().contains("full"), "{refused}");
    drop(log);
    let refused = open(&data).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");

    std::fs::remove_file(disk.path().join("more")).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    let log = open(&data).unwrap();
    check(&log, acknowledged);
}

/// The same without closing: the shard is opened again in the running process.
#[test]
fn a_running_node_heals_when_space_returns() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 30 << 20]).unwrap();
    let log = open(&disk.path().join("data")).unwrap();
    let mut writer = ShardWriter::open(&log, SHARD);
    let mut entropy = SeededEntropy::new(6);
    let mut acknowledged = Offset::ZERO;
    loop {
        let batch = writer.batch(&mut entropy);
        let last = batch.last();
        if wait(log.append(batch)).is_err() {
            break;
        }
        acknowledged = last;
    }
    assert!(log.store().failure().is_some());
    std::fs::remove_file(&ballast).unwrap();
    check(&log, acknowledged);
    assert_eq!(log.store().failure(), None);
}

fn check(log: &SledLog, acknowledged: Offset) {
    let mut writer = ShardWriter::open(log, SHARD);
    assert!(log.last_offset(SHARD).unwrap() >= acknowledged);
    let batch = writer.batch(&mut SeededEntropy::new(7));
    let last = batch.last();
    wait(log.append(batch)).unwrap();
    assert_eq!(log.last_offset(SHARD), Ok(last));
    log.history(SHARD, &entity(0), SequenceNumber::ZERO, usize::MAX).unwrap();
}

fn open(dir: &Path) -> Result<SledLog, StoreError> {
    let store = Store::open(dir, StoreOptions { cache_bytes: 8 << 20, ..StoreOptions::default() })?;
    SledLog::start(Arc::clone(&store), SHARDS)
}

/// A tmpfs of some MiB, gone when dropped.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { dir }),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                skipped(&format!("no tmpfs here: {reason}"));
                None
            }
            Err(error) => {
                skipped(&format!("mount cannot be started: {error}"));
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the tmpfs is unmounted");
    }
}
