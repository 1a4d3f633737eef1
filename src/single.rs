//! A node that stands alone: every shard is led here, over a log of its own, without a server and without a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use holm_core::{NodeId, SeededEntropy, ShardId, Term, Timestamp};
use holm_persistence::{
    LogId, MemoryLog, Op, OpenError, ShardLog, SledLog, Store, StoreError, StoreOptions,
};
use holm_runtime::bus::Bus;
use holm_runtime::{Caller, HostOptions, Registry, ShardHost};
use holm_sharding::{ClusterView, MemberState, MemberView, ShardState, ShardView};

use crate::builder::Builder;
use crate::handle::{Holm, Parts, Role};
use crate::policies::PolicyThread;
use crate::start_error::StartError;

/// The id of a node that stands alone.
pub(crate) const NODE: NodeId = NodeId(1);

/// The durable record that fixes the number of shards and marks the directory as one of a node that stands alone.
const SHARDS_RECORD: &str = "single-node-shards";

pub(crate) struct SingleNode {
    pub(crate) host: ShardHost,
    log: Log,
    since: Timestamp,
}

enum Log {
    Memory(Arc<MemoryLog>),
    Sled(Arc<SledLog>),
}

pub(crate) async fn start(builder: Builder) -> Result<Holm, StartError> {
    let registry = builder.registry.clone().with_system_types();
    let log = match (&builder.data_dir, builder.in_memory) {
        (_, true) if builder.correlation_index => Log::Memory(Arc::new(MemoryLog::new())),
        (_, true) => Log::Memory(Arc::new(MemoryLog::without_correlation_index())),
        (Some(dir), false) => {
            open_log(dir.clone(), builder.shards, store_options(&builder)).await?
        }
        (None, false) => {
            let reason =
                "say where the data goes with `data_dir`, or that it goes nowhere with `in_memory`";
            return Err(StartError::Settings { reason: reason.into() });
        }
    };
    let host = ShardHost::start(host_options(&builder, registry.clone()), log.contract())
        .map_err(|error| StartError::Host { reason: error.to_string() })?;
    lead_every_shard(&host, &log, builder.shards).await?;
    host.connect_to_itself();

    let asker = Arc::new(host.clone());
    let caller = Caller::new(
        asker,
        Arc::clone(&builder.clock),
        builder.limits.ask_timeout,
        SeededEntropy::from_os(),
    );
    let since = builder.clock.now();
    let (shards, inspector) = (builder.shards, host.inspector());
    let bus = Bus::new(Arc::clone(&caller), Arc::clone(&inspector), shards);
    let policies = PolicyThread::start(builder.policies, bus, host.clone())?;
    if let Some(policies) = &policies {
        policies.begun().await?;
    }
    Ok(Holm(Arc::new(Parts {
        name: builder.node_name,
        shards,
        registry,
        event_namespace: builder.event_namespace,
        caller,
        inspector,
        policies,
        role: Role::Single(SingleNode { host, log, since }),
    })))
}

/// The options of a host that the builder describes, alone or in a cluster.
pub(crate) fn host_options(builder: &Builder, registry: Registry) -> HostOptions {
    let mut options = HostOptions::new(registry, builder.shards);
    options.limits = builder.limits.clone();
    options.clock = Arc::clone(&builder.clock);
    options.node = NODE;
    if let Some(arbiters) = builder.arbiters {
        options.arbiters = arbiters;
    }
    options
}

/// The options of a store that the builder describes, alone or in a cluster.
pub(crate) fn store_options(builder: &Builder) -> StoreOptions {
    StoreOptions { correlation_index: builder.correlation_index, ..StoreOptions::default() }
}

async fn open_log(dir: PathBuf, shards: u32, options: StoreOptions) -> Result<Log, StartError> {
    let at = dir.clone();
    let open = move || -> Result<SledLog, StartError> {
        let data = |source| StartError::Data { dir: at.clone(), source };
        let store = Store::open(&at, options).map_err(data)?;
        fix_shards(&store, shards, &at)?;
        SledLog::start(store, shards).map_err(data)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let log = opened.map_err(|error| StartError::Host { reason: error.to_string() })??;
    Ok(Log::Sled(Arc::new(log)))
}

/// The number of shards decides where every entity's history is, so it is written down once and compared ever after.
fn fix_shards(store: &Arc<Store>, shards: u32, dir: &Path) -> Result<(), StartError> {
    let data = |source| StartError::Data { dir: dir.to_owned(), source };
    if store.identity().membership.is_some() {
        let reason = format!(
            "{} belongs to a node of a cluster; start it with its cluster settings",
            dir.display()
        );
        return Err(StartError::Settings { reason });
    }
    match store.record(LogId::CLUSTER, SHARDS_RECORD).map_err(data)? {
        Some(stored) if stored[..] == shards.to_le_bytes() => Ok(()),
        Some(stored) => {
            let stored = stored[..].try_into().map_or(0, u32::from_le_bytes);
            let reason = format!(
                "{} was created with {stored} shards, not {shards}; the number cannot change",
                dir.display()
            );
            Err(StartError::Settings { reason })
        }
        None => {
            let value = shards.to_le_bytes().to_vec().into();
            let op = Op::PutRecord { log: LogId::CLUSTER, name: SHARDS_RECORD, value };
            commit(store, op).map_err(data)
        }
    }
}

fn commit(store: &Arc<Store>, op: Op) -> Result<(), StoreError> {
    let (done, result) = mpsc::channel();
    // The receiver outlives the commit, so the send cannot fail.
    store.commit(vec![op], Box::new(move |outcome| _ = done.send(outcome)));
    result.recv().expect("a commit always says how it ended")
}

async fn lead_every_shard(host: &ShardHost, log: &Log, shards: u32) -> Result<(), StartError> {
    let mut openings = Vec::with_capacity(shards as usize);
    for shard in (0..shards).map(ShardId) {
        openings.push(host.lead(shard, log.newest_term(shard)?.next()));
    }
    for opening in openings {
        opening.await?;
    }
    Ok(())
}

impl Log {
    fn contract(&self) -> Arc<dyn ShardLog> {
        match self {
            Self::Memory(log) => Arc::clone(log) as Arc<dyn ShardLog>,
            Self::Sled(log) => Arc::clone(log) as Arc<dyn ShardLog>,
        }
    }

    fn newest_term(&self, shard: ShardId) -> Result<Term, OpenError> {
        match self {
            Self::Memory(log) => Ok(log.newest_term(shard)),
            Self::Sled(log) => log
                .newest_term(shard)
                .map_err(|error| OpenError::Log { shard, reason: error.to_string() }),
        }
    }
}

impl SingleNode {
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        match &self.log {
            Log::Memory(_) => None,
            Log::Sled(log) => Some(log.store()),
        }
    }

    pub(crate) async fn shutdown(&self, shards: u32) {
        let drains: Vec<_> = (0..shards).map(|shard| self.host.drain(ShardId(shard))).collect();
        for drain in drains {
            drain.await;
        }
        self.host.stop().await;
        if let Log::Sled(log) = &self.log {
            let log = Arc::clone(log);
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::error!(%error, "the store did not close cleanly; it is verified at the next start");
            }
        }
    }

    /// A cluster of one, so that tools need not know the difference.
    pub(crate) fn view(&self, name: &str) -> ClusterView {
        let stats = self.host.stats();
        let shard = |shard: &holm_runtime::ShardStats| ShardView {
            id: shard.shard,
            leader: shard.leading.then_some(NODE),
            term: shard.term,
            replicas: vec![NODE],
            state: if shard.leading { ShardState::Serving } else { ShardState::Recovering },
        };
        ClusterView {
            cluster: name.to_owned(),
            version: 0,
            members: vec![MemberView {
                id: NODE,
                name: name.to_owned(),
                peer: ([127, 0, 0, 1], 0).into(),
                http: None,
                state: MemberState::Up,
                incarnation: 1,
                since: self.since,
            }],
            shards: stats.shards.iter().map(shard).collect(),
        }
    }
}
