//! The handle: what a started node, or a client, offers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, ShardId, shard_of};
use holm_persistence::{Pending, Store};
use holm_runtime::bus::Bus;
use holm_runtime::{
    Asker, Caller, Entity, EntityRef, Failures, HostStats, Inspector, Registry, ShardHost,
};
use holm_sharding::{Client, ClusterNode, ClusterView, LeaveError};

use crate::builder::Builder;
use crate::policies::PolicyThread;
use crate::{client, single};

/// How long an orderly stop waits for facts that are not stored: several tries, and a small part of the 15 s that a program has to end.
const FACTS_STORED_WITHIN: Duration = Duration::from_secs(2);

/// A running node, or a client of a cluster. Clones share it.
///
/// The node runs until [`Holm::shutdown`] or [`Holm::leave`]; a process that ends without either has crashed, which is safe: whatever was
/// acknowledged is there when it starts again.
#[derive(Clone)]
pub struct Holm(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) shards: u32,
    pub(crate) registry: Registry,
    pub(crate) event_namespace: String,
    pub(crate) caller: Arc<Caller>,
    pub(crate) inspector: Arc<dyn Inspector>,
    /// None where no policy is registered.
    pub(crate) policies: Option<PolicyThread>,
}

/// What this process is.
pub(crate) enum Role {
    /// A node that stands alone.
    Single(single::SingleNode),
    /// A member of a cluster.
    Member { node: ClusterNode, host: ShardHost, store: Arc<Store> },
    /// A process that hosts nothing.
    Client(Client),
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its id; zero for a client.
    pub id: NodeId,
    /// Where its peers reach it, when it is part of a cluster.
    pub peer: Option<SocketAddr>,
    /// How many real fsyncs its store has made.
    pub fsyncs: u64,
    /// Why its store takes no writes; none while it is healthy.
    pub store_failure: Option<String>,
}

impl Holm {
    /// Begins to describe a node.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Begins to describe a process that hosts nothing and reaches a cluster through `seeds`, the peer addresses of some members.
    pub fn client(
        cluster: impl Into<String>,
        seeds: impl Into<Vec<SocketAddr>>,
    ) -> client::ClientBuilder {
        client::ClientBuilder::new(cluster.into(), seeds.into())
    }

    /// The entity of type `E` with this id, wherever it lives. An id that breaks the rules is reported by the first `ask`.
    #[must_use]
    pub fn entity<E: Entity>(&self, id: impl AsRef<str>) -> EntityRef<E> {
        EntityRef::new(Arc::clone(&self.0.caller), id)
    }

    /// Runs a future on the thread on which this process has, or would have, the shard of an entity, and gives what comes of it; none when it panicked, or the
    /// node stopped first. It begins with the call and goes on when what is returned is dropped. In a client, which has no such threads, and for an id that is
    /// malformed, it runs on the present runtime of tokio.
    ///
    /// An ask from another thread wakes the thread of the shard, and the answer wakes the caller's; from here neither is needed. The future takes turns with
    /// the handlers of that thread, so it must not block.
    ///
    /// ```
    /// # use holm::{Command, Commands, Entity, Event, Holm, NoRejection, Read, Context};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Default, Serialize, Deserialize)] struct Seats { free: u32 }
    /// # #[derive(Event, Serialize, Deserialize)] enum SeatsEvent { Taken }
    /// # #[derive(Command, Serialize, Deserialize)] #[command(reply = u32)] struct Free {}
    /// # impl Entity for Seats {
    /// #     const TYPE: &'static str = "seats"; type Event = SeatsEvent; type Rejection = NoRejection;
    /// #     fn apply(&mut self, _: &SeatsEvent) { self.free -= 1; }
    /// #     fn commands(commands: &mut Commands<Self>) { commands.read::<Free>(); }
    /// # }
    /// # impl Read<Free> for Seats {
    /// #     fn read(&self, _: Free, _: &Context<'_, Self>) -> Result<u32, NoRejection> { Ok(self.free) }
    /// # }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let holm = Holm::builder().entity::<Seats>().in_memory().start().await?;
    /// let seats = holm.entity::<Seats>("LH-441");
    /// let asked = seats.clone();
    /// let free = holm.spawn_near(&seats, async move { asked.ask(Free {}).await }).await;
    /// assert_eq!(free, Some(Ok(0)));
    /// # holm.shutdown().await; Ok(()) }
    /// ```
    #[must_use = "what comes of the work is lost; say so with `drop`"]
    pub fn spawn_near<E: Entity, T: Send + 'static>(
        &self,
        entity: &EntityRef<E>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pending<Option<T>> {
        // The first ask reports an id that is malformed; where that happens does not matter.
        match (self.host(), entity.address()) {
            (Some(host), Ok(address)) => host.spawn_near(address, work),
            _ => {
                let spawned = tokio::spawn(work);
                Box::pin(async move { spawned.await.ok() })
            }
        }
    }

    /// What makes envelopes, for programs that know commands by name only.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        &self.0.caller
    }

    /// The way to every entity, for programs that work with envelopes.
    #[must_use]
    pub fn asker(&self) -> &Arc<dyn Asker> {
        self.0.caller.asker()
    }

    /// Reads histories, wherever they are.
    #[must_use]
    pub fn inspector(&self) -> &Arc<dyn Inspector> {
        &self.0.inspector
    }

    /// The event bus of the cluster: follows what happens, from here.
    #[must_use]
    pub fn bus(&self) -> Bus {
        let (caller, inspector) = (Arc::clone(&self.0.caller), Arc::clone(&self.0.inspector));
        let bus = Bus::new(caller, inspector, self.0.shards).at(self.id());
        bus.knowing(self.0.registry.clone())
    }

    /// What failed in the cluster, and what can be done about it.
    #[must_use]
    pub fn failures(&self) -> Failures {
        Failures::new(Arc::clone(&self.0.caller))
    }

    /// The entity types, and their way to JSON.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What the types of this program's events begin with where they leave it as CloudEvents.
    #[must_use]
    pub fn event_namespace(&self) -> &str {
        &self.0.event_namespace
    }

    /// The number of shards.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.0.shards
    }

    /// The shard of an entity.
    #[must_use]
    pub fn shard_of(&self, address: &holm_core::EntityAddress) -> ShardId {
        shard_of(address, self.0.shards)
    }

    /// The newest picture of the cluster; of a node that stands alone, a picture of itself.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        match &self.0.role {
            Role::Single(node) => Arc::new(node.view(&self.0.name)),
            Role::Member { node, .. } => node.view(),
            Role::Client(client) => client.view(),
        }
    }

    /// The figures of this node's shards; empty for a client.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        match &self.0.role {
            Role::Single(node) => node.host.stats(),
            Role::Member { host, .. } => host.stats(),
            Role::Client(_) => HostStats::default(),
        }
    }

    /// Who this process is.
    #[must_use]
    pub fn facts(&self) -> NodeFacts {
        let peer = match &self.0.role {
            Role::Member { node, .. } => Some(node.peer_address()),
            Role::Single(_) | Role::Client(_) => None,
        };
        let store = self.store();
        NodeFacts {
            name: self.0.name.clone(),
            id: self.id(),
            peer,
            fsyncs: store.map_or(0, |store| store.fsyncs()),
            store_failure: store.and_then(|store| store.failure()).map(|error| error.to_string()),
        }
    }

    /// Leaves the cluster for good: hands over its shards, moves its replicas, and stops. For a node that stands alone, and for a
    /// client, the same as [`Holm::shutdown`].
    ///
    /// # Errors
    /// [`LeaveError`] when the cluster cannot let it go now; the node then goes on.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        if let Role::Member { node, .. } = &self.0.role {
            // Policies go on until it has left: they may be on no other node.
            node.leave().await?;
        }
        self.shutdown().await;
        Ok(())
    }

    /// Finishes what is under way, hands over leadership where there is somebody to take it, and stops. The data stays, and in a cluster
    /// the node stays a member. Facts about failures that are not stored yet are waited for first, for 2 s at most.
    pub async fn shutdown(&self) {
        if let Some(policies) = &self.0.policies {
            policies.stop().await;
        }
        if let Some(host) = self.host() {
            host.settle(FACTS_STORED_WITHIN).await;
        }
        match &self.0.role {
            Role::Single(node) => node.shutdown(self.0.shards).await,
            Role::Member { node, host, .. } => {
                node.shutdown().await;
                host.stop().await;
            }
            Role::Client(client) => client.close().await,
        }
    }

    pub(crate) fn host(&self) -> Option<&ShardHost> {
        match &self.0.role {
            Role::Single(node) => Some(&node.host),
            Role::Member { host, .. } => Some(host),
            Role::Client(_) => None,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        match &self.0.role {
            Role::Single(_) => single::NODE,
            Role::Member { node, .. } => node.node(),
            Role::Client(_) => NodeId::ZERO,
        }
    }

    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        match &self.0.role {
            Role::Single(node) => node.store(),
            Role::Member { store, .. } => Some(store),
            Role::Client(_) => None,
        }
    }
}

impl std::fmt::Debug for Holm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holm").field("name", &self.0.name).finish_non_exhaustive()
    }
}
