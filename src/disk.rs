//! A look at what the node keeps on its disk, once in a while: that little space is left is a failure fact, that there is more again, and that an index had
//! to be given up.

use std::sync::{Arc, Weak};

use holm_core::ShardId;
use holm_persistence::{DiskLimits, IndexTrouble, SpaceWatch, SpaceWord};
use holm_runtime::{FailureKind, Subject};

use crate::handle::{Holm, Parts};

impl Holm {
    /// Begins to look; it ends with the node. A node that keeps nothing on a disk has nothing to look at.
    pub(crate) fn watch_disk(&self, limits: DiskLimits) {
        if self.store().is_some() {
            drop(tokio::spawn(look_on(Arc::downgrade(&self.0), limits)));
        }
    }
}

/// It keeps nothing alive: a node whose last handle is dropped ends.
async fn look_on(node: Weak<Parts>, limits: DiskLimits) {
    let mut watch = SpaceWatch::default();
    loop {
        // First too: a node that just started has other things to tell, and what it tells is surely younger than its start.
        tokio::time::sleep(limits.look_every).await;
        let Some(store) = node.upgrade().and_then(|parts| Holm(parts).store().cloned()) else {
            return;
        };
        let given_up = store.take_index_troubles();
        // The system answers from memory, but a network disk that is gone may not answer at all.
        let measured = tokio::task::spawn_blocking(move || store.space()).await;
        let Some(holm) = node.upgrade().map(Holm) else { return };
        for IndexTrouble { log, reason } in given_up {
            let shard = Subject::Shard(ShardId(log.0));
            if let Some(host) = holm.host() {
                host.report(FailureKind::IndexFailed, shard, &reason);
            }
        }
        match measured {
            Ok(Ok(space)) => {
                let told = watch.look(space, &limits).map(|word| match word {
                    SpaceWord::NearlyFull => FailureKind::DiskNearlyFull,
                    SpaceWord::FreeAgain => FailureKind::DiskFreeAgain,
                });
                if let (Some(kind), Some(host)) = (told, holm.host()) {
                    host.report(kind, Subject::Node(holm.id()), &space.to_string());
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "the space on the disk is not known"),
            Err(error) => tracing::debug!(%error, "the space on the disk is not known"),
        }
    }
}
