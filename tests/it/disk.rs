//! Space on the disk of a node: a small tmpfs that is filled and emptied.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holm::bus::{Interest, Start, Subscription};
use holm::{DiskLimits, FailureEvent, FailureFact, FailureKind, FailureLog, Holm, NodeId, Subject};
use holm_domains::bank::Account;
use tempfile::TempDir;

use crate::skipped::skipped;

const LIMITS: DiskLimits =
    DiskLimits { free_percent: 50, free_bytes: 0, look_every: Duration::from_millis(20) };

/// Promise G7: that little space is left is a fact before a write fails, once; and so is that there is more again.
#[tokio::test]
async fn a_disk_that_is_nearly_full_is_told() {
    let Some(disk) = SmallDisk::mount() else { return };
    let builder = Holm::builder().entity::<Account>().data_dir(disk.path().join("data"));
    let holm = builder.shards(2).disk_limits(LIMITS).start().await.unwrap();
    let interest = Interest::of::<FailureLog>();
    let mut failures = holm.bus().subscribe(interest, Start::Beginning).await.unwrap();
    nothing_more(&mut failures).await;

    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 40 << 20]).unwrap();
    let fact = next(&mut failures).await;
    assert_eq!(
        (fact.kind, &fact.subject),
        (FailureKind::DiskNearlyFull, &Subject::Node(NodeId(1)))
    );
    assert!(fact.reason().contains(" MiB of 64 MiB free ("), "{}", fact.reason());
    nothing_more(&mut failures).await;

    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(next(&mut failures).await.kind, FailureKind::DiskFreeAgain);
    nothing_more(&mut failures).await;
    holm.shutdown().await;
}

async fn next(failures: &mut Subscription) -> FailureFact {
    let fact = tokio::time::timeout(Duration::from_secs(10), failures.next()).await;
    match fact.unwrap().unwrap().event::<FailureLog>().unwrap() {
        FailureEvent::Failed { fact } => fact,
        settled => panic!("{settled:?}"),
    }
}

/// Nothing within several looks.
async fn nothing_more(failures: &mut Subscription) {
    let more = tokio::time::timeout(LIMITS.look_every * 10, failures.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// A tmpfs of 64 MiB, gone when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=64m", "tmpfs"];
        match Command::new("mount").args(mount).arg(dir.path()).output() {
            Ok(output) if output.status.success() => Some(Self(dir)),
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

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the tmpfs is unmounted");
    }
}
