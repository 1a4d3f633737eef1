//! Failures of whoever follows the logs and is no part of a host: a projection, on a node or on a client.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use holm_core::NodeId;

use super::reporter::{Outlet, report};
use crate::bus::Fact;
use crate::entity_ref::Caller;
use crate::failure::{FailedCommand, FailureFact, FailureKind, Subject};

/// Facts that may wait to be stored; what does not fit is counted, and the count is told.
const MOST_WAITING: usize = 1_024;

/// How long the last ones are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a reader tells what it could not do. Telling never waits, and what is told is stored while [`ReaderFailures::beside`] runs.
pub struct ReaderFailures {
    outlet: Arc<Outlet>,
    caller: Arc<Caller>,
    reader: Box<str>,
}

impl ReaderFailures {
    pub(crate) fn new(caller: Arc<Caller>, node: NodeId, reader: &str) -> Self {
        let clock = Arc::clone(caller.clock());
        let outlet = Arc::new(Outlet::new(MOST_WAITING, node, clock, caller.draw()));
        Self { outlet, caller, reader: reader.into() }
    }

    /// Tells that something failed, at this fact where it was one. So it is a step of the conversation to which that fact belongs.
    pub fn tell(&self, kind: FailureKind, at: Option<&Fact>, reason: &str) {
        let subject = Subject::Reader(self.reader.clone());
        let failure = self.outlet.fact(kind, subject, reason);
        let (shard, command) = (at.map(Fact::shard), at.map(FailedCommand::behind));
        self.outlet.offer(FailureFact { shard, command, ..failure });
    }

    /// Runs the work of the reader, and stores meanwhile what it tells.
    ///
    /// # Cancel safety
    /// As the work is. What was told and is not stored yet is lost.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let reporting = pin!(report(Arc::clone(&self.outlet), Arc::clone(self.caller.asker())));
        match select(pin!(work), reporting).await {
            Either::Left((done, _)) => done,
            // It ends when the outlet is closed, which nobody does.
            Either::Right(((), work)) => work.await,
        }
    }

    /// Waits a moment until everything that was told is stored.
    pub async fn stored(&self) {
        // Whoever cannot store them in that time will not in a longer one: the cluster is not there.
        _ = tokio::time::timeout(LAST_WORDS, self.outlet.stored()).await;
    }
}

impl std::fmt::Debug for ReaderFailures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderFailures").field("reader", &self.reader).finish_non_exhaustive()
    }
}
