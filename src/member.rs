//! A node that is a member of a cluster: the shard host takes its seat in the cluster node.

use std::sync::{Arc, OnceLock};

use holm_core::SeededEntropy;
use holm_persistence::{Store, StoreOptions};
use holm_runtime::bus::Bus;
use holm_runtime::{Asker, Caller, Inspector};
use holm_sharding::{ClusterNode, ClusterOptions, ConsensusTimes, HostSeat, HostedShards, Secret};

use crate::builder::{Builder, ClusterSettings};
use crate::handle::{Holm, Parts, Role};
use crate::policies::PolicyThread;
use crate::single::{host_options, store_options};
use crate::start_error::StartError;

pub(crate) async fn start(builder: Builder, settings: ClusterSettings) -> Result<Holm, StartError> {
    let Some(dir) = builder.data_dir.clone().filter(|_| !builder.in_memory) else {
        let reason = "a member of a cluster needs a `data_dir`: its vote must survive a restart";
        return Err(StartError::Settings { reason: reason.into() });
    };
    let registry = builder.registry.clone().with_system_types();
    let store = open_store(dir, store_options(&builder)).await?;

    // The host is made when the node has its id, on the node's own thread; the slot brings it back here.
    let slot = Arc::new(OnceLock::new());
    let options = host_options(&builder, registry.clone());
    let start_host = {
        let slot = Arc::clone(&slot);
        Box::new(move |seat: HostSeat| {
            let host = seat.take(options)?;
            // The node calls this once.
            Ok(Arc::new(slot.get_or_init(|| host).clone()) as Arc<dyn HostedShards>)
        })
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
        times: ConsensusTimes { rest_after: settings.rest_after, ..ConsensusTimes::default() },
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
    let (shards, inspector) = (builder.shards, router as Arc<dyn Inspector>);
    let bus = Bus::new(Arc::clone(&caller), Arc::clone(&inspector), shards);
    // They begin when the shards are led, which may need members that start after this one.
    let policies = PolicyThread::start(builder.policies, bus, host.clone())?;
    Ok(Holm(Arc::new(Parts {
        name: builder.node_name,
        shards,
        registry,
        event_namespace: builder.event_namespace,
        caller,
        inspector,
        policies,
        role: Role::Member { node, host, store },
    })))
}

async fn open_store(
    dir: std::path::PathBuf,
    options: StoreOptions,
) -> Result<Arc<Store>, StartError> {
    let at = dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&at, options)).await;
    opened
        .map_err(|error| StartError::Host { reason: error.to_string() })?
        .map_err(|source| StartError::Data { dir, source })
}
