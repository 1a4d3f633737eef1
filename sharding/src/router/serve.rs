//! What a router does for its peers: commands, histories and batches from the shards that this process hosts. Nothing is forwarded a second time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{AskError, ShardId, Timestamp, shard_of};
use holm_persistence::{Pending, encode};
use serde::Serialize;

use crate::router::{Core, LocalShards};
use crate::transport::Responder;
use crate::wire::{CommandAnswer, Message};

/// Most records and most bytes of one page, whatever is asked for.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How long the growth of a log is waited for in one request. Well below the time after which a request counts as lost.
const LONGEST_TAIL: Duration = Duration::from_secs(2);

#[expect(
    clippy::result_large_err,
    reason = "not a failure: what is not for the router goes back whole"
)]
pub(super) fn serve(
    core: &Arc<Core>,
    message: Message,
    respond: Responder,
) -> Result<(), (Message, Responder)> {
    match message {
        Message::Command(mut envelope) => {
            let time_left = envelope.deadline.since(Timestamp::EPOCH);
            envelope.deadline = core.clock.now().plus(time_left);
            let shard = shard_of(&envelope.address, core.shards);
            match core.local.as_ref().filter(|local| local.leads(shard)) {
                Some(local) => {
                    let core = core.clone();
                    local.submit(
                        envelope,
                        Box::new(move |answer| say(respond, &core.with_hint(answer))),
                    );
                }
                None => say::<CommandAnswer>(respond, &Err(core.moved(shard))),
            }
        }
        Message::View => say(respond, &**core.view.borrow()),
        Message::History { address, after, limit } => {
            let most = (limit as usize).min(MOST_RECORDS);
            let shard = shard_of(&address, core.shards);
            read(core, shard, respond, |local| local.history(address, after, most));
        }
        Message::Batches { shard, from, max_bytes } => {
            read(core, shard, respond, |local| local.batches(shard, from, bytes(max_bytes)));
        }
        Message::Conversation { shard, correlation, from, max_bytes } => {
            read(core, shard, respond, |local| {
                local.conversation(shard, correlation, from, bytes(max_bytes))
            });
        }
        Message::Tail { shard, seen } => read(core, shard, respond, |local| {
            Box::pin(for_a_while(local.tail(shard, seen), seen.unwrap_or_default()))
        }),
        Message::Follow { shard, seen, max_bytes } => read(core, shard, respond, |local| {
            Box::pin(for_a_while(local.follow(shard, seen, bytes(max_bytes)), Vec::new()))
        }),
        other => return Err((other, respond)),
    }
    Ok(())
}

/// Answers with what the shard's log says, when the shard is led here.
fn read<T: Serialize + Send + 'static>(
    core: &Core,
    shard: ShardId,
    respond: Responder,
    ask: impl FnOnce(&dyn LocalShards) -> Pending<Result<T, AskError>>,
) {
    match core.local.as_deref().filter(|local| shard.0 < core.shards && local.leads(shard)) {
        Some(local) => {
            let answer = ask(local);
            core.peers.runtime().spawn(async move { say(respond, &answer.await) });
        }
        None => say::<Result<T, AskError>>(respond, &Err(core.moved(shard))),
    }
}

fn bytes(wanted: u32) -> usize {
    (wanted as usize).min(MOST_BYTES)
}

impl Core {
    /// What a caller is told whose shard is not led here.
    fn moved(&self, shard: ShardId) -> AskError {
        let leader = self.leaders.leader(shard).filter(|&leader| leader != self.me());
        AskError::Moved { shard, leader }
    }

    /// The shard itself does not know where it went.
    fn with_hint(&self, answer: CommandAnswer) -> CommandAnswer {
        match answer {
            Err(AskError::Moved { shard, leader: None }) => Err(self.moved(shard)),
            answer => answer,
        }
    }
}

/// Waits for a log to grow, but not longer than a request may take: who asked must hear that this node is still there, and may have to ask another.
pub(super) async fn for_a_while<T>(
    grown: Pending<Result<T, AskError>>,
    nothing: T,
) -> Result<T, AskError> {
    tokio::time::timeout(LONGEST_TAIL, grown).await.unwrap_or(Ok(nothing))
}

fn say<T: Serialize>(respond: Responder, answer: &T) {
    match encode(answer) {
        Ok(body) => respond.respond(body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be encoded");
            respond.respond(Bytes::new());
        }
    }
}
