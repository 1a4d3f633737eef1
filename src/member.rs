//! A node that is a member of a cluster: the shard host takes its seat in the cluster node.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, EntityAddress, Offset, SeededEntropy, SequenceNumber, ShardId, Term,
};
use holm_persistence::{OpenError, Pending, Store, StoreOptions, encode};
use holm_runtime::{Asker, Caller, HostOptions, Inspector, ReplyTo, ShardHost, WriteFailurePolicy};
use holm_sharding::{
    ClusterNode, ClusterOptions, HostSeat, HostedShards, LocalShards, OnAnswer, Secret,
};

use crate::builder::{Builder, ClusterSettings};
use crate::handle::{Holm, Parts, Role};
use crate::single::host_options;
use crate::start_error::StartError;

pub(crate) async fn start(builder: Builder, settings: ClusterSettings) -> Result<Holm, StartError> {
    let Some(dir) = builder.data_dir.clone().filter(|_| !builder.in_memory) else {
        let reason = "a member of a cluster needs a `data_dir`: its vote must survive a restart";
        return Err(StartError::Settings { reason: reason.into() });
    };
    let registry = builder.registry.clone();
    let store = open_store(dir).await?;

    // The host is made when the node has its id, on the node's own thread; the slot brings it back here.
    let slot = Arc::new(OnceLock::new());
    let options = host_options(&builder, registry.clone());
    let start_host = {
        let slot = Arc::clone(&slot);
        Box::new(move |seat: HostSeat| seat_host(options, seat, &slot))
    };
    let clock = Arc::clone(&builder.clock);
    let options = ClusterOptions {
        listen: settings.listen,
        advertise: settings.advertise,
        http: settings.http,
        secret: settings.secret.map(Secret::new),
        seeds: settings.seeds,
        expected_nodes: settings.expected_nodes,
        replication: settings.replication,
        shards: builder.shards,
        ..ClusterOptions::new(
            settings.name,
            builder.node_name.clone(),
            Arc::clone(&store),
            Arc::clone(&clock),
            start_host,
        )
    };
    let node = ClusterNode::start(options).await?;
    let host = slot.get().cloned().ok_or_else(|| StartError::Host {
        reason: "the node started without its host".to_owned(),
    })?;

    let router = Arc::new(node.router().clone());
    let asker = Arc::clone(&router) as Arc<dyn Asker>;
    let caller = Caller::new(asker, clock, builder.limits.ask_timeout, SeededEntropy::from_os());
    Ok(Holm(Arc::new(Parts {
        name: builder.node_name,
        shards: builder.shards,
        registry,
        caller,
        inspector: router,
        role: Role::Member { node, host, store },
    })))
}

async fn open_store(dir: std::path::PathBuf) -> Result<Arc<Store>, StartError> {
    let at = dir.clone();
    let opened =
        tokio::task::spawn_blocking(move || Store::open(&at, StoreOptions::default())).await;
    opened
        .map_err(|error| StartError::Host { reason: error.to_string() })?
        .map_err(|source| StartError::Data { dir, source })
}

fn seat_host(
    mut options: HostOptions,
    seat: HostSeat,
    slot: &OnceLock<ShardHost>,
) -> Result<Arc<dyn HostedShards>, String> {
    options.node = seat.node;
    options.shards = seat.shards;
    options.on_snapshot = Some(seat.on_snapshot);
    // Consensus notices by itself when this node cannot write and lets another lead.
    options.on_write_failure = WriteFailurePolicy::StepDown(Arc::new(|shard, term, error| {
        tracing::warn!(%shard, %term, %error, "stepped down");
    }));
    let host = ShardHost::start(options, seat.log).map_err(|error| error.to_string())?;
    // The node calls this once.
    let host = slot.get_or_init(|| host).clone();
    let inspector = host.inspector();
    Ok(Arc::new(Seated { host, inspector }))
}

/// The shard host in the seat that the cluster node offers.
struct Seated {
    host: ShardHost,
    inspector: Arc<dyn Inspector>,
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
        // The work begins with the call; the facade waits for the end.
        drop(self.host.stop());
    }
}
