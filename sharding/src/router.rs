//! The router: finds the leader of a command's shard, asks it, and retries with the same key until the deadline.
//!
//! Leaders are known from the view, from what the node itself learns, and from answers that say "moved". A try goes to the shard on this process when it
//! leads, else to the leader, else to any replica, which says who leads. What to do after a failed try is decided in [`journey`], which is pure:
//! it also knows whether any try may have been taken, and never tells the caller less than that. Retries run on the
//! transport's runtime; the first try runs on the caller's thread, and if it succeeds there is no task at all.

mod flight;
mod inspect;
mod journey;
mod leaders;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use holm_core::{
    Answer, AskError, Clock, CommandEnvelope, CorrelationId, EntityAddress, Limit, NodeId, Offset,
    SequenceNumber, ShardId, Term, shard_of,
};
use holm_persistence::Pending;
use holm_runtime::{Asker, Asking};
use tokio::sync::{oneshot, watch};

use crate::router::flight::Flight;
use crate::router::journey::Tries;
use crate::router::leaders::Leaders;
use crate::transport::{PeerInfo, Peers, Responder, Waiting};
use crate::view::ClusterView;
use crate::wire::Message;

/// Routes commands to the leaders of their shards. Clones share it; it lives until the last clone is dropped.
#[derive(Clone)]
pub struct Router(Arc<Owner>);

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
    /// Tells what a caller's deadline means; the clock that the callers use.
    pub clock: Arc<dyn Clock>,
}

/// Called exactly once with the answer to a command.
pub type OnAnswer = Box<dyn FnOnce(Result<Answer, AskError>) + Send>;

/// The shards that this process leads, as the router sees them. Implemented over the shard host.
pub trait LocalShards: Send + Sync + 'static {
    /// Whether this process leads the shard at this moment.
    fn leads(&self, shard: ShardId) -> bool;

    /// Hands a command to its shard. A shard that is not led here answers [`AskError::Moved`].
    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer);

    /// A page of an entity's history: an encoded [`holm_runtime::HistoryPage`].
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

    /// Records of one conversation in a shard: an encoded [`holm_runtime::ConversationPage`].
    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Bytes, AskError>>;

    /// Resolves to the shard's last durable offset, at once or when that is above `seen`.
    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>>;

    /// What stands behind `seen`, as soon as there is anything.
    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>>;
}

/// What the clones share and the tasks do not.
struct Owner {
    core: Arc<Core>,
}

/// What a router's tries share.
pub(crate) struct Core {
    shards: u32,
    me: AtomicU64,
    peers: Peers,
    view: watch::Receiver<Arc<ClusterView>>,
    local: Option<Arc<dyn LocalShards>>,
    leaders: Leaders,
    /// Commands handed to this process's own shards: the router keeps their deadlines.
    local_tries: Arc<Waiting<OnAnswer>>,
    in_flight: AtomicUsize,
    allowed: usize,
    clock: Arc<dyn Clock>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        for done in self.core.local_tries.close() {
            done(Err(AskError::Interrupted { reason: "the router was dropped".into() }));
        }
    }
}

impl Router {
    /// A router; it follows the view on the runtime of its transport.
    #[must_use]
    pub fn start(options: RouterOptions) -> Self {
        let core = Arc::new(Core {
            shards: options.shards,
            me: AtomicU64::new(options.me.0),
            peers: options.peers,
            view: options.view,
            local: options.local,
            leaders: Leaders::new(options.shards),
            local_tries: Arc::new(Waiting::new(options.requests_in_flight)),
            in_flight: AtomicUsize::new(0),
            allowed: options.requests_in_flight,
            clock: options.clock,
        });
        core.leaders.look_at(&core.view.borrow());
        let runtime = core.peers.runtime();
        runtime.spawn(follow_views(Arc::downgrade(&core), core.view.clone()));
        runtime.spawn(core.local_tries.clone().watch(|done| {
            // Begun or not, the shard has it.
            let outcome = holm_core::Outcome::Unknown;
            done(Err(AskError::DeadlinePassed { outcome }));
        }));
        Self(Arc::new(Owner { core }))
    }

    /// Tells the router who leads a shard, faster than the view does. An older term is ignored; none means "nobody at this term".
    pub fn learn(&self, shard: ShardId, leader: Option<NodeId>, term: Term) {
        self.0.core.leaders.learn(shard, leader, term);
    }

    /// Tells the router this node's id once it is known.
    pub fn set_me(&self, me: NodeId) {
        self.0.core.me.store(me.0, Ordering::Relaxed);
    }

    /// Who leads a shard, as far as this router knows.
    #[must_use]
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.0.core.leaders.leader(shard)
    }

    /// Sends a command to its entity, wherever that is. The first try begins with the call; dropping the future does not stop the retries.
    pub fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let (done, answer) = oneshot::channel();
        self.ask_with(
            envelope,
            Box::new(move |result| {
                // Who dropped the future does not want to know.
                let _ = done.send(result);
            }),
        );
        answer.into()
    }

    /// The same with a callback, which is called exactly once, on any thread, and must not block.
    pub fn ask_with(&self, envelope: CommandEnvelope, done: OnAnswer) {
        self.begin(envelope, Tries::UntilAnswered, done);
    }

    fn begin(&self, envelope: CommandEnvelope, tries: Tries, done: OnAnswer) {
        let core = &self.0.core;
        if core.in_flight.fetch_add(1, Ordering::Relaxed) >= core.allowed {
            core.in_flight.fetch_sub(1, Ordering::Relaxed);
            let allowed = core.allowed as u64;
            return done(Err(AskError::Overloaded { limit: Limit::RequestsInFlight, allowed }));
        }
        let shard = shard_of(&envelope.address, core.shards);
        Flight::begin(core.clone(), shard, envelope, tries, done);
    }

    /// Serves [`Message::Command`], [`Message::History`], [`Message::Batches`] and [`Message::View`] from a peer, with what this process
    /// hosts: nothing is forwarded a second time. Any other message comes back.
    ///
    /// # Errors
    /// The message and the responder, when it is none of these.
    #[expect(
        clippy::result_large_err,
        reason = "not a failure: what is not for the router goes back whole"
    )]
    pub fn serve(
        &self,
        _from: &PeerInfo,
        message: Message,
        respond: Responder,
    ) -> Result<(), (Message, Responder)> {
        serve::serve(&self.0.core, message, respond)
    }
}

impl Asker for Router {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        Router::ask(self, envelope)
    }

    fn ask_once(&self, envelope: CommandEnvelope) -> Asking {
        let (done, answer) = oneshot::channel();
        // Who dropped the future does not want to know.
        self.begin(envelope, Tries::UntilUnknown, Box::new(move |result| _ = done.send(result)));
        answer.into()
    }
}

async fn follow_views(core: std::sync::Weak<Core>, mut views: watch::Receiver<Arc<ClusterView>>) {
    while views.changed().await.is_ok() {
        let Some(core) = core.upgrade() else { return };
        let view = views.borrow_and_update().clone();
        core.leaders.look_at(&view);
    }
}
