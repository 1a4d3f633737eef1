//! The shard host: the shards that this node leads, each an actor on one of a few arbiter threads.

use std::sync::Arc;

use holm_core::{Answer, AskError, CommandEnvelope, Outcome, ShardId, Term, shard_of};
use holm_persistence::{OpenError, Pending, ShardLog};

use crate::ask::{Asker, ReplyTo};
use crate::inspector::Inspector;
use crate::options::{HostOptions, HostStats};
use crate::registry::RegistryError;

/// The shards of one node. Cheap to clone; the threads end with [`ShardHost::stop`] or with the last clone.
#[derive(Debug, Clone)]
pub struct ShardHost(Arc<HostOptions>);

impl ShardHost {
    /// Starts the threads; no shard is led yet.
    ///
    /// # Errors
    /// [`StartError`] when the registry is malformed or a thread cannot be started.
    pub fn start(options: HostOptions, log: Arc<dyn ShardLog>) -> Result<Self, StartError> {
        options.registry.check()?;
        drop(log);
        Ok(Self(Arc::new(options)))
    }

    /// The options it was started with.
    #[must_use]
    pub fn options(&self) -> &HostOptions {
        &self.0
    }

    /// Opens a shard at a term and serves it from then on.
    #[must_use]
    pub fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>> {
        let _ = (shard, term);
        Box::pin(async { Ok(()) })
    }

    /// Finishes what is on its way, answers everything later with [`AskError::Moved`], and resolves when nothing is left. The shard is then no
    /// longer led here.
    #[must_use]
    pub fn drain(&self, shard: ShardId) -> Pending<()> {
        let _ = shard;
        Box::pin(async {})
    }

    /// Stops leading at once: callers whose answer waits for the log hear that the outcome is unknown.
    pub fn depose(&self, shard: ShardId) {
        let _ = shard;
    }

    /// Whether this host leads the shard at the moment.
    #[must_use]
    pub fn is_leading(&self, shard: ShardId) -> bool {
        let _ = shard;
        false
    }

    /// Hands a command to its shard. Never blocks; what cannot be taken is answered at once.
    pub fn submit(&self, envelope: CommandEnvelope, reply: ReplyTo) {
        let shard = shard_of(&envelope.address, self.0.shards);
        let (reason, outcome) = ("not led here".into(), Outcome::NotApplied);
        reply.answer(Err(AskError::Unavailable { shard, reason, outcome }));
    }

    /// The present figures.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        HostStats::default()
    }

    /// An inspector over this node's own log.
    #[must_use]
    pub fn inspector(&self) -> Arc<dyn Inspector> {
        unimplemented!("follows with the loaders")
    }

    /// Stops every shard and ends every thread. What is on its way to the log is not waited for: drain first where that matters.
    #[must_use]
    pub fn stop(&self) -> Pending<()> {
        Box::pin(async {})
    }
}

impl Asker for ShardHost {
    fn ask(&self, envelope: CommandEnvelope) -> Pending<Result<Answer, AskError>> {
        let (reply, answer) = ReplyTo::channel();
        self.submit(envelope, reply);
        Box::pin(async move {
            let gone = || AskError::Interrupted { reason: "the node stopped".into() };
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

/// Why a host could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The registry is malformed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}
