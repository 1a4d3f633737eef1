//! The syncer: a thread that waits for the disk, so that the committer need not.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, PoisonError};
use std::thread;

use super::committer::{self, Synced};
use super::error::StoreError;
use super::inner::Inner;

/// Makes durable what was handed to the database, one request at a time.
pub(super) struct Syncer {
    inner: Arc<Inner>,
    asked: SyncSender<()>,
    synced: Receiver<Synced>,
}

impl Syncer {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start_thread(inner: &Arc<Inner>) -> io::Result<Self> {
        let (asked, requests) = mpsc::sync_channel(1);
        let (answers, synced) = mpsc::sync_channel(1);
        let syncing = Arc::clone(inner);
        thread::Builder::new().name("holm-syncer".to_owned()).spawn(move || {
            for () in requests {
                let engine = syncing.engine.read().unwrap_or_else(PoisonError::into_inner);
                let synced = committer::make_durable(&syncing, engine.as_ref());
                drop(engine);
                if answers.send(synced).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { inner: Arc::clone(inner), asked, synced })
    }

    /// Begins to make everything durable that was handed to the database so far. It must be [waited](Syncer::wait) for before the next.
    pub(super) fn start(&self) {
        // Without the thread, waiting for it fails.
        let _ = self.asked.send(());
    }

    /// Waits for what was started.
    pub(super) fn wait(&self) -> Synced {
        self.synced.recv().unwrap_or_else(|_| {
            let ended = io::Error::other("the thread that syncs has ended");
            Synced::not(&self.inner, StoreError::io(&self.inner.dir, "fsync", &ended))
        })
    }
}
