//! The runtime's shard host in the seat that a node offers.

use std::sync::Arc;

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term,
};
use holm_persistence::{OpenError, Pending, encode};
use holm_runtime::{
    Asker, ClusterEvent, FailureKind, HostOptions, ReplyTo, ShardHost, Subject, WriteFailurePolicy,
};

use super::host::{HostSeat, HostedShards};
use crate::router::{LocalShards, OnAnswer};

impl HostSeat {
    /// Starts a shard host in this seat. What the seat knows better (node, shards, what becomes of snapshots and of failed writes) replaces what
    /// the options say.
    ///
    /// # Errors
    /// When the host cannot be started.
    pub fn take(self, mut options: HostOptions) -> Result<ShardHost, String> {
        options.node = self.node;
        options.shards = self.shards;
        options.on_snapshot = Some(self.on_snapshot);
        // Consensus notices by itself when this node cannot write and lets another lead.
        options.on_write_failure = WriteFailurePolicy::StepDown(Arc::new(|shard, term, error| {
            tracing::warn!(%shard, %term, %error, "stepped down");
        }));
        ShardHost::start(options, self.log).map_err(|error| error.to_string())
    }
}

impl LocalShards for ShardHost {
    fn leads(&self, shard: ShardId) -> bool {
        self.is_leading(shard)
    }

    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer) {
        self.submit(envelope, ReplyTo::new(done));
    }

    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        let page = self.inspector().history(address, after, limit);
        Box::pin(async move { encoded("history", &page.await?) })
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.inspector().batches(shard, from, max_bytes)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        let page = self.inspector().conversation(shard, correlation, from, max_bytes);
        Box::pin(async move { encoded("conversation", &page.await?) })
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.inspector().tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.inspector().follow(shard, seen, max_bytes)
    }
}

fn encoded(what: &str, page: &impl serde::Serialize) -> Result<Bytes, AskError> {
    encode(page).map_err(|error| AskError::Undecodable {
        command: what.into(),
        reason: error.to_string().into(),
    })
}

impl HostedShards for ShardHost {
    fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>> {
        self.lead(shard, term)
    }

    fn drain(&self, shard: ShardId) -> Pending<()> {
        self.drain(shard)
    }

    fn depose(&self, shard: ShardId) {
        self.depose(shard);
    }

    fn connect(&self, asker: Arc<dyn Asker>) {
        self.connect(asker);
    }

    fn report(&self, kind: FailureKind, subject: Subject, reason: &str) {
        self.report(kind, subject, reason);
    }

    fn announce(&self, event: ClusterEvent) {
        self.announce(event);
    }

    fn stop(&self) {
        // The work begins with the call; whoever holds the host may wait for its end.
        drop(self.stop());
    }
}
