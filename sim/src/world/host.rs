//! The shard host in the seat that the cluster node offers, on the node's own thread.

use std::sync::Arc;

use bytes::Bytes;
use holm_core::{AskError, CommandEnvelope, EntityAddress, Offset, SequenceNumber, ShardId, Term};
use holm_persistence::{OpenError, Pending, encode};
use holm_runtime::{HostOptions, Inspector, ReplyTo, ShardHost, WriteFailurePolicy};
use holm_sharding::{HostSeat, HostedShards, LocalShards, OnAnswer};

/// The shard host of one process.
struct Seated {
    host: ShardHost,
    inspector: Arc<dyn Inspector>,
}

/// Starts the host with these options in the seat that the node offers.
pub(super) fn seat(
    mut options: HostOptions,
    seat: HostSeat,
) -> Result<Arc<dyn HostedShards>, String> {
    options.node = seat.node;
    options.shards = seat.shards;
    options.on_snapshot = Some(seat.on_snapshot);
    options.on_write_failure = WriteFailurePolicy::StepDown(Arc::new(|shard, term, error| {
        tracing::warn!(%shard, %term, %error, "stepped down");
    }));
    let host = ShardHost::start(options, seat.log).map_err(|error| error.to_string())?;
    let inspector = host.inspector();
    Ok(Arc::new(Seated { host, inspector }))
}

impl LocalShards for Seated {
    fn leads(&self, shard: ShardId) -> bool {
        self.host.is_leading(shard)
    }

    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer) {
        self.host.submit(envelope, ReplyTo::new(done));
    }

    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        let page = self.inspector.history(address, after, limit);
        Box::pin(async move {
            encode(&page.await?).map_err(|error| AskError::Undecodable {
                command: "history".into(),
                reason: error.to_string().into(),
            })
        })
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.inspector.batches(shard, from, max_bytes)
    }
}

impl HostedShards for Seated {
    fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>> {
        self.host.lead(shard, term)
    }

    fn drain(&self, shard: ShardId) -> Pending<()> {
        self.host.drain(shard)
    }

    fn depose(&self, shard: ShardId) {
        self.host.depose(shard);
    }

    fn stop(&self) {
        drop(self.host.stop());
    }
}
