//! How a host tells what failed: the way out for its reporter, and the facts that come from outside its shards.

use std::sync::{Arc, Weak};
use std::time::Duration;

use holm_core::{AskError, CommandEnvelope};
use holm_persistence::Pending;

use super::{Inner, ShardHost};
use crate::ask::{Asker, Asking, ReplyTo};
use crate::cluster_facts::{ClusterEvent, proclaim};
use crate::failure::{FailureFact, FailureKind, Subject};
use crate::failures::report;

/// The way from a host to itself, for a node that stands alone: it keeps nothing alive.
struct Home(Weak<Inner>);

impl ShardHost {
    /// Says how this node reaches entities, wherever they are: what its shards have to tell goes that way, and so do reactions and timers. To be called
    /// once; until then they wait.
    ///
    /// # Panics
    /// With [`crate::Placement::Here`], when it is not called on a `LocalSet`.
    pub fn connect(&self, asker: Arc<dyn Asker>) {
        // Weak, because it may lead back to the host itself; the reporter keeps it alive as long as the host runs.
        self.0.askers.send_replace(Some(Arc::downgrade(&asker)));
        let reporter = report(Arc::clone(&self.0.failures), Arc::clone(&asker));
        let herald = proclaim(Arc::clone(&self.0.herald), asker);
        match &self.0.arbiters {
            // Apart from the handlers: one that does not come back must not keep anybody from hearing of it.
            Some(arbiters) => {
                _ = (arbiters.beside().spawn(reporter), arbiters.beside().spawn(herald));
            }
            None => {
                drop(tokio::task::spawn_local(reporter));
                drop(tokio::task::spawn_local(herald));
            }
        }
    }

    /// The same for a node that stands alone: everything is here.
    ///
    /// # Panics
    /// As [`ShardHost::connect`].
    pub fn connect_to_itself(&self) {
        self.connect(Arc::new(Home(Arc::downgrade(&self.0))));
    }

    /// Reports something that failed on this node, or in its cluster. Never waits.
    pub fn report(&self, kind: FailureKind, subject: Subject, reason: &str) {
        let fact = self.0.failures.fact(kind, subject, reason);
        tracing::warn!(subject = %fact.subject, kind = kind.name(), reason, id = %fact.id, "failed");
        self.0.failures.offer(fact);
    }

    /// A fact of this node about something, to be filled in and told by [`ShardHost::tell`].
    pub(crate) fn fact(&self, kind: FailureKind, subject: Subject, reason: &str) -> FailureFact {
        self.0.failures.fact(kind, subject, reason)
    }

    /// Tells of a failure. Never waits.
    pub(crate) fn tell(&self, fact: FailureFact) {
        let (kind, reason) = (fact.kind.name(), fact.reason());
        tracing::error!(subject = %fact.subject, kind, reason, id = %fact.id, "failed");
        self.0.failures.offer(fact);
    }

    /// Takes over what happened to the cluster, to be stored for whoever follows it. Never waits. One node of a cluster does this.
    pub fn announce(&self, event: ClusterEvent) {
        self.0.herald.offer(event);
    }

    /// Waits until everything that failed here, and everything that was announced, is stored; at most so long. True when it is. For a node that is about
    /// to stop in order, while its shards can still take commands; call it on a tokio runtime.
    #[must_use]
    pub fn settle(&self, at_most: Duration) -> Pending<bool> {
        let (failures, herald) = (Arc::clone(&self.0.failures), Arc::clone(&self.0.herald));
        Box::pin(async move {
            let stored = async { tokio::join!(failures.stored(), herald.stored()) };
            let settled = tokio::time::timeout(at_most, stored).await.is_ok();
            if !settled {
                let waiting = failures.waiting();
                tracing::warn!(
                    waiting,
                    "facts about failures are lost: they could not be stored in time"
                );
            }
            settled
        })
    }

    /// How many failure facts of this node are not stored yet.
    #[must_use]
    pub fn failures_waiting(&self) -> usize {
        self.0.failures.waiting()
    }
}

impl Asker for Home {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        match self.0.upgrade() {
            Some(inner) => ShardHost(inner).ask(envelope),
            None => {
                let (reply, answer) = ReplyTo::channel();
                reply.answer(Err(AskError::Interrupted { reason: "the node stopped".into() }));
                answer.into()
            }
        }
    }
}
