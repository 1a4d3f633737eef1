//! One command under way: a try, the decision after it, the next try.
//!
//! The first try and its decision run in callbacks. Only a command that needs a second try gets a task, on the transport's runtime.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{AskError, CommandEnvelope, Entropy, NodeId, SeededEntropy, ShardId, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::router::journey::{Journey, Next, Tried, Tries, UNASSIGNED_PATIENCE};
use crate::router::{Core, OnAnswer};
use crate::transport::{Lane, NotWaiting, PeerError};
use crate::wire::{CommandAnswer, Message};

/// How much longer than the caller a local shard may take: it says itself when it did not begin in time, and knows the outcome better.
const LOCAL_GRACE: Duration = Duration::from_millis(10);

/// One command.
pub(crate) struct Flight {
    core: Arc<Core>,
    shard: ShardId,
    envelope: CommandEnvelope,
    journey: Journey,
    deadline: Instant,
    /// The node asked last.
    asked: Option<NodeId>,
    /// The leader that the node asked last named: asked next, whatever the table says.
    named: Option<NodeId>,
    /// It kept this command waiting in vain: others are asked first whether it still leads.
    shunned: Option<NodeId>,
    probes: usize,
    done: Landing,
}

/// Tells the caller, and counts the command out.
struct Landing {
    core: Arc<Core>,
    done: Option<OnAnswer>,
}

impl Landing {
    fn tell(&mut self, result: CommandAnswer) {
        if let Some(done) = self.done.take() {
            self.core.in_flight.fetch_sub(1, Ordering::Relaxed);
            done(result);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.tell(Err(AskError::Interrupted { reason: "the router was stopped".into() }));
    }
}

/// Who is to be asked.
enum Target {
    Here,
    Node(NodeId),
    Nobody,
}

impl Flight {
    /// Counted in already; begins the first try.
    pub(crate) fn begin(
        core: Arc<Core>,
        shard: ShardId,
        envelope: CommandEnvelope,
        tries: Tries,
        done: OnAnswer,
    ) {
        let left = envelope.deadline.since(core.clock.now());
        let mut flight = Self {
            journey: Journey::new(shard, tries),
            deadline: Instant::now() + left,
            asked: None,
            named: None,
            shunned: None,
            probes: 0,
            done: Landing { core: core.clone(), done: Some(done) },
            core,
            shard,
            envelope,
        };
        if left.is_zero() {
            let outcome = holm_core::Outcome::NotApplied;
            return flight.done.tell(Err(AskError::DeadlinePassed { outcome }));
        }
        let target = flight.target();
        flight.asked = target.node();
        match target {
            Target::Here => {
                let envelope = flight.envelope.clone();
                let core = flight.core.clone();
                let deadline = flight.deadline;
                let landed = Box::new(move |result| flight.landed(Tried::Answered(result)));
                submit_here(&core, envelope, deadline, landed);
            }
            Target::Node(node) => {
                let body = flight.body(left);
                let time = flight.journey.try_time().min(left);
                let peers = flight.core.peers.clone();
                peers.request_with(node, Lane::Commands, body, time, move |answer| {
                    flight.landed(read_answer(answer));
                });
            }
            Target::Nobody => flight.landed(Tried::Nobody),
        }
    }

    /// The first try is over.
    fn landed(mut self, tried: Tried) {
        match self.decide(tried) {
            Next::Done(result) => self.done.tell(result),
            next => {
                let core = self.core.clone();
                core.peers.runtime().spawn(self.go_on(next));
            }
        }
    }

    /// Tries again and again, until an answer or the deadline.
    async fn go_on(mut self, mut next: Next) {
        // A local seed: pauses of many commands that failed together must differ.
        let mut entropy =
            SeededEntropy::new(self.envelope.id.0 as u64 ^ (self.envelope.id.0 >> 64) as u64);
        let began = Instant::now();
        let mut changes = self.core.leaders.changes(self.shard);
        loop {
            match next {
                Next::Done(result) => return self.done.tell(result),
                Next::Follow(named) => self.named = named,
                Next::Pause(pause) => {
                    let until = Instant::now() + jittered(pause, &mut entropy);
                    rest(until.min(self.deadline), changes.as_mut()).await;
                }
            }
            if Instant::now() >= self.deadline {
                let error = self.journey.at_deadline();
                return self.done.tell(Err(error));
            }
            let unassigned =
                self.core.leaders.known(self.shard).is_some_and(|known| known.unassigned);
            if unassigned && began.elapsed() >= UNASSIGNED_PATIENCE {
                let error = self.journey.without_majority();
                return self.done.tell(Err(error));
            }
            // A change while the try is under way ends the pause behind it.
            if let Some(changes) = &mut changes {
                changes.mark_unchanged();
            }
            let tried = self.attempt(changes.as_mut()).await;
            next = self.decide(tried);
        }
    }

    async fn attempt(&mut self, changes: Option<&mut watch::Receiver<u64>>) -> Tried {
        let target = self.target();
        self.asked = target.node();
        match target {
            Target::Here => {
                let (landed, result) = oneshot::channel();
                let landed = Box::new(move |result| _ = landed.send(result));
                submit_here(&self.core, self.envelope.clone(), self.deadline, landed);
                let dropped = || AskError::Interrupted { reason: "the shard was stopped".into() };
                Tried::Answered(result.await.unwrap_or_else(|_| Err(dropped())))
            }
            Target::Node(node) => {
                let left = self.deadline.saturating_duration_since(Instant::now());
                let time = self.journey.try_time().min(left);
                let body = self.body(left);
                tokio::select! {
                    answer = self.core.peers.request(node, Lane::Commands, body, time) => read_answer(answer),
                    () = succeeded(&self.core, self.shard, node, changes) => Tried::Succeeded,
                }
            }
            Target::Nobody => Tried::Nobody,
        }
    }

    fn decide(&mut self, tried: Tried) -> Next {
        if let Some(asked) = self.asked {
            let leaders = &self.core.leaders;
            match &tried {
                Tried::Answered(Ok(_)) if leaders.leader(self.shard) != Some(asked) => {
                    leaders.answered(self.shard, asked);
                }
                Tried::Answered(Err(AskError::Moved { leader, .. })) => {
                    leaders.moved(self.shard, asked, *leader);
                }
                // It is there and slow, or stopped. The table stays: others may fare better, and who knows better will say so.
                Tried::Failed(PeerError::Deadline { .. }) => self.shunned = Some(asked),
                Tried::Failed(error) if !error.is_congestion() => {
                    leaders.moved(self.shard, asked, None);
                }
                _ => {}
            }
        }
        self.journey.after(tried)
    }

    /// Who is to be asked now.
    fn target(&mut self) -> Target {
        let core = self.core.clone();
        if core.local.as_ref().is_some_and(|local| local.leads(self.shard)) {
            return Target::Here;
        }
        let me = core.me();
        let shunned = self.shunned.take();
        if let Some(named) = self.named.take().filter(|&named| named != me) {
            return Target::Node(named);
        }
        let Some(known) = core.leaders.known(self.shard) else { return Target::Nobody };
        match known.leader {
            // This node is about to lead or was about to: others know no better.
            Some(leader) if leader == me => return Target::Nobody,
            Some(leader) if Some(leader) != shunned => return Target::Node(leader),
            _ => {}
        }
        let mut others = known.replicas;
        if others.is_empty() {
            others = core.members();
        }
        others.retain(|&node| node != me && Some(node) != shunned);
        if others.is_empty() || !core.leaders.may_probe(self.shard, Instant::now()) {
            return Target::Nobody;
        }
        self.probes += 1;
        // Different commands begin with different nodes, so that none is asked by all.
        Target::Node(others[self.probes.wrapping_add(self.envelope.id.0 as usize) % others.len()])
    }

    /// The command as it is sent: with the time that is left instead of a time of day, which the receiver may see differently.
    fn body(&mut self, left: Duration) -> Bytes {
        let time_left = Timestamp::EPOCH.plus(left);
        let deadline = std::mem::replace(&mut self.envelope.deadline, time_left);
        let body = Message::encode_command(&self.envelope);
        self.envelope.deadline = deadline;
        body
    }
}

impl Target {
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(*node),
            Self::Here | Self::Nobody => None,
        }
    }
}

impl Core {
    pub(super) fn me(&self) -> NodeId {
        NodeId(self.me.load(Ordering::Relaxed))
    }

    fn members(&self) -> Vec<NodeId> {
        let me = self.me();
        let view = self.view.borrow();
        view.members.iter().map(|member| member.id).filter(|&id| id != me).collect()
    }
}

/// Waits until a time, or until the leader changes.
async fn rest(until: Instant, changes: Option<&mut watch::Receiver<u64>>) {
    let change = async {
        if let Some(changes) = changes
            && changes.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    };
    tokio::select! {
                    biased;
        () = tokio::time::sleep_until(until) => {}
        () = change => {}
    }
}

/// Resolves when somebody else than `asked` is known to lead the shard.
async fn succeeded(
    core: &Core,
    shard: ShardId,
    asked: NodeId,
    changes: Option<&mut watch::Receiver<u64>>,
) {
    if let Some(changes) = changes {
        while changes.changed().await.is_ok() {
            if core.leaders.leader(shard).is_some_and(|leader| leader != asked) {
                return;
            }
        }
    }
    std::future::pending().await
}

/// Hands a command to this process's own shard and keeps its deadline.
fn submit_here(core: &Core, envelope: CommandEnvelope, deadline: Instant, landed: OnAnswer) {
    let Some(local) = &core.local else {
        let shard = holm_core::shard_of(&envelope.address, core.shards);
        return landed(Err(AskError::Moved { shard, leader: None }));
    };
    match core.local_tries.add(deadline + LOCAL_GRACE, landed) {
        Ok(id) => {
            let tries = core.local_tries.clone();
            local.submit(
                envelope,
                Box::new(move |result| {
                    if let Some(landed) = tries.take(id) {
                        landed(result);
                    }
                }),
            );
        }
        Err(NotWaiting::Full(landed) | NotWaiting::Closed(landed)) => {
            // Every command in the table was counted in against the same limit, so it is full only while the router ends.
            landed(Err(AskError::Interrupted { reason: "the router was stopped".into() }));
        }
    }
}

fn read_answer(answer: Result<Bytes, PeerError>) -> Tried {
    match answer {
        Ok(body) => match holm_persistence::decode::<CommandAnswer>(&body) {
            Ok(answer) => Tried::Answered(answer),
            // The command was carried out and what came of it cannot be read: a version that is too different.
            Err(error) => {
                Tried::Answered(Err(AskError::Interrupted { reason: error.to_string().into() }))
            }
        },
        Err(error) => Tried::Failed(error),
    }
}

fn jittered(pause: Duration, entropy: &mut SeededEntropy) -> Duration {
    let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX / 2).max(1);
    Duration::from_micros(micros / 2 + entropy.below(micros))
}
