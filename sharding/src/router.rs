//! The router: finds the leader of a command's shard, asks it, and retries with the same key until the deadline.

use std::sync::Arc;

use bytes::Bytes;
use holm_core::{
    Answer, AskError, CommandEnvelope, EntityAddress, NodeId, Offset, SequenceNumber, ShardId, Term,
};
use holm_persistence::Pending;
use tokio::sync::watch;

use crate::transport::{PeerInfo, Peers, Responder};
use crate::view::ClusterView;
use crate::wire::Message;

/// Routes commands to the leaders of their shards. Clones share it.
#[derive(Clone)]
pub struct Router(Arc<()>);

/// How a router is started.
pub struct RouterOptions {
    /// The number of shards, fixed when the cluster was created.
    pub shards: u32,
    /// This node's id; zero in a process that hosts nothing.
    pub me: NodeId,
    /// The way to the other nodes.
    pub peers: Peers,
    /// The picture of the cluster: leaders, replicas, states. Each new one is looked at.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// What this process hosts itself.
    pub local: Option<Arc<dyn LocalShards>>,
    /// Commands that may be under way at the same time.
    pub requests_in_flight: usize,
}

/// Called exactly once with the answer to a command.
pub type OnAnswer = Box<dyn FnOnce(Result<Answer, AskError>) + Send>;

/// The shards that this process leads, as the router sees them. Implemented over the shard host.
pub trait LocalShards: Send + Sync + 'static {
    /// Whether this process leads the shard at this moment.
    fn leads(&self, shard: ShardId) -> bool;

    /// Hands a command to its shard. A shard that is not led here answers [`AskError::Moved`].
    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer);

    /// A page of an entity's history, encoded as the wire wants it.
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<Bytes, AskError>>;

    /// Batches of a shard's log as stored.
    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>>;
}

impl Router {
    /// A router; it follows the view on the runtime it is started on.
    #[must_use]
    pub fn start(options: RouterOptions) -> Self {
        let _ = options;
        unimplemented!()
    }

    /// Tells the router who leads a shard, faster than the view does. An older term is ignored; none means "nobody at this term".
    pub fn learn(&self, shard: ShardId, leader: Option<NodeId>, term: Term) {
        let _ = (shard, leader, term);
        unimplemented!()
    }

    /// Tells the router this node's id once it is known.
    pub fn set_me(&self, me: NodeId) {
        let _ = me;
        unimplemented!()
    }

    /// Sends a command to its entity, wherever that is. The first try begins at once; see [`Router`] for retries.
    #[must_use]
    pub fn ask(&self, envelope: CommandEnvelope) -> Pending<Result<Answer, AskError>> {
        let _ = envelope;
        unimplemented!()
    }

    /// Serves [`Message::Command`], [`Message::History`], [`Message::Batches`] and [`Message::View`] from a peer, with what this process
    /// hosts: nothing is forwarded a second time. Any other message comes back.
    ///
    /// # Errors
    /// The message and the responder, when it is none of these.
    pub fn serve(
        &self,
        from: &PeerInfo,
        message: Message,
        respond: Responder,
    ) -> Result<(), (Message, Responder)> {
        let _ = (from, message, respond);
        unimplemented!()
    }
}
