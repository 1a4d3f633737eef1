//! The end of a process, as the others learn of it where all run under one system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// One end. Clones are of the same.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Inner>);

#[derive(Default)]
struct Inner {
    over: AtomicBool,
    told: Notify,
}

impl Ending {
    /// Tells everybody who waits.
    pub(super) fn has_come(&self) {
        self.0.over.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// Resolves when it has come.
    pub(super) async fn come(&self) {
        let told = self.0.told.notified();
        if !self.0.over.load(Ordering::Acquire) {
            told.await;
        }
    }
}
