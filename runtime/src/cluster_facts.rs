//! What happens to the cluster as facts of a topic of their own: who came, fell silent and went, which shards moved or lost their majority.
//!
//! They are the events of one entity of Holm's own, so they stand in one order, are stored and replicated as everything else is, and are followed by the bus
//! like the events of a program. One node writes them, the leader of the cluster log; its herald never waits for a shard.

mod herald;

use holm_core::{NodeId, ShardId, Term, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use self::herald::{Herald, proclaim};
use crate::commands::Commands;
use crate::context::Context;
use crate::effect::Effect;
use crate::entity::{Entity, Handle, NoRejection};
use crate::{Command, Event};

/// The facts of the cluster, in one log. Follow them by the bus:
///
/// ```
/// use holm_runtime::bus::{Bus, Fact, FeedError, Interest, Start};
/// use holm_runtime::{ClusterEvent, ClusterFacts};
///
/// async fn watch(bus: Bus) -> Result<(), FeedError> {
///     let mut facts = bus.subscribe(Interest::of::<ClusterFacts>(), Start::Now).await?;
///     loop {
///         if let Ok(ClusterEvent::NodeDowned { name, .. }) = facts.next().await?.event::<ClusterFacts>() {
///             println!("{name} is down");
///         }
///     }
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ClusterFacts {}

/// Something that happened to the cluster. `at` is when it was seen; it is stored a moment later.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are named in the first line of each variant")]
pub enum ClusterEvent {
    /// The node with this id and name became a member and can hold shards.
    NodeJoined { node: NodeId, name: Box<str>, at: Timestamp },
    /// It does not answer.
    NodeSuspected { node: NodeId, name: Box<str>, at: Timestamp },
    /// It was silent for so long that its shards go elsewhere.
    NodeDowned { node: NodeId, name: Box<str>, at: Timestamp },
    /// It was silent or down, and answers again.
    NodeReturned { node: NodeId, name: Box<str>, at: Timestamp },
    /// It wants to go, and its shards move away.
    NodeLeaving { node: NodeId, name: Box<str>, at: Timestamp },
    /// It is gone for good.
    NodeLeft { node: NodeId, name: Box<str>, at: Timestamp },
    /// The shard is led by node `to` from this term on; `from` led it before.
    ShardMoved { shard: ShardId, from: NodeId, to: NodeId, term: Term, at: Timestamp },
    /// The majority of the shard's replicas cannot be reached; it takes no commands.
    QuorumLost { shard: ShardId, replicas: u32, at: Timestamp },
    /// It can be reached again.
    QuorumRegained { shard: ShardId, at: Timestamp },
    /// The node leads the cluster log from now on, and so tells these facts.
    LeaderChanged { node: NodeId, name: Box<str>, at: Timestamp },
    /// So many facts could not wait to be stored, because the shard of this log took no commands for long.
    FactsMissed { count: u64, at: Timestamp },
}

/// Stores facts in their order, all or none.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(internal)]
pub(crate) struct Proclaim {
    pub(crate) events: Vec<ClusterEvent>,
}

impl ClusterFacts {
    /// The id of the one entity.
    pub const ID: &'static str = "log";
}

impl Entity for ClusterFacts {
    const TYPE: &'static str = "holm-cluster";
    type Event = ClusterEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &ClusterEvent) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Proclaim>();
    }
}

impl Handle<Proclaim> for ClusterFacts {
    fn handle(
        &self,
        Proclaim { events }: Proclaim,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Ok(cx.persist_all(events).no_reply())
    }
}
