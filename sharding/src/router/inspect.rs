//! Reading histories and logs through the router: from this process when it leads the shard, else from the leader.

use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AskError, CorrelationId, EntityAddress, Offset, Outcome, SequenceNumber, ShardId, shard_of,
};
use holm_persistence::{Pending, decode};
use holm_runtime::{ConversationPage, HistoryPage, Inspector};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::router::serve::for_a_while;
use crate::router::{Core, Router};
use crate::transport::Lane;
use crate::wire::{BatchesAnswer, ConversationAnswer, HistoryAnswer, Message, TailAnswer};

/// How long a leader is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between tries.
const PAUSE: Duration = Duration::from_millis(50);

impl Inspector for Router {
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        let core = self.0.core.clone();
        let shard = shard_of(&address, core.shards);
        let asked = u32::try_from(limit).unwrap_or(u32::MAX);
        let message = Message::History { address: address.clone(), after, limit: asked };
        on_transport(self.0.core.clone(), shard, async move {
            let here = |core: &Core| {
                let local = core.local.as_ref().filter(|local| local.leads(shard))?;
                Some(local.history(address.clone(), after, limit))
            };
            let page: HistoryAnswer = read(&core, shard, &message, here).await;
            decode(&page?).map_err(|error| undecodable("history", &error))
        })
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        let core = self.0.core.clone();
        let asked = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let message = Message::Batches { shard, from, max_bytes: asked };
        on_transport(self.0.core.clone(), shard, async move {
            let here = |core: &Core| {
                let local = core.local.as_ref().filter(|local| local.leads(shard))?;
                Some(local.batches(shard, from, max_bytes))
            };
            let batches: BatchesAnswer = read(&core, shard, &message, here).await;
            batches
        })
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<ConversationPage, AskError>> {
        let core = self.0.core.clone();
        let asked = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let message = Message::Conversation { shard, correlation, from, max_bytes: asked };
        on_transport(self.0.core.clone(), shard, async move {
            let here = |core: &Core| {
                let local = core.local.as_ref().filter(|local| local.leads(shard))?;
                Some(local.conversation(shard, correlation, from, max_bytes))
            };
            let page: ConversationAnswer = read(&core, shard, &message, here).await;
            decode(&page?).map_err(|error| undecodable("conversation", &error))
        })
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        let core = self.0.core.clone();
        let message = Message::Tail { shard, seen };
        on_transport(self.0.core.clone(), shard, async move {
            let here = |core: &Core| {
                let local = core.local.as_ref().filter(|local| local.leads(shard))?;
                Some(Box::pin(for_a_while(local.tail(shard, seen), seen.unwrap_or_default()))
                    as Pending<_>)
            };
            let last: TailAnswer = read(&core, shard, &message, here).await;
            last
        })
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        let core = self.0.core.clone();
        let asked = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let message = Message::Follow { shard, seen, max_bytes: asked };
        on_transport(self.0.core.clone(), shard, async move {
            let here = |core: &Core| {
                let local = core.local.as_ref().filter(|local| local.leads(shard))?;
                let came = local.follow(shard, seen, max_bytes);
                Some(Box::pin(for_a_while(came, Vec::new())) as Pending<_>)
            };
            let batches: BatchesAnswer = read(&core, shard, &message, here).await;
            batches
        })
    }
}

/// Runs a read on the transport's runtime, whatever runtime the caller waits on.
fn on_transport<T: Send + 'static>(
    core: std::sync::Arc<Core>,
    shard: ShardId,
    read: impl Future<Output = Result<T, AskError>> + Send + 'static,
) -> Pending<Result<T, AskError>> {
    let task = core.peers.runtime().spawn(read);
    Box::pin(async move {
        let stopped = |_| AskError::Unavailable {
            shard,
            reason: "the router was stopped".into(),
            outcome: Outcome::NotApplied,
        };
        task.await.unwrap_or_else(|error| Err(stopped(error)))
    })
}

/// Reads here or from the leader, until somebody who leads answers or patience ends. A read may be repeated freely.
async fn read<T: DeserializeOwned>(
    core: &Core,
    shard: ShardId,
    message: &Message,
    here: impl Fn(&Core) -> Option<Pending<Result<T, AskError>>>,
) -> Result<T, AskError> {
    let deadline = Instant::now() + PATIENCE;
    let mut probes = 0;
    loop {
        let reason = match here(core) {
            Some(local) => match local.await {
                Err(AskError::Moved { .. } | AskError::Interrupted { .. }) => "it moves".into(),
                read => return read,
            },
            None => match ask_leader(core, shard, message, &mut probes).await {
                Ok(read) => return read,
                Err(reason) => reason,
            },
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(AskError::Unavailable { shard, reason, outcome: Outcome::NotApplied });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One try at the leader, or at a replica that may know it; why there is no answer yet.
async fn ask_leader<T: DeserializeOwned>(
    core: &Core,
    shard: ShardId,
    message: &Message,
    probes: &mut usize,
) -> Result<Result<T, AskError>, Box<str>> {
    let known = core.leaders.known(shard).ok_or("there is no such shard")?;
    let me = core.me();
    let others: Vec<_> = known.replicas.into_iter().filter(|&node| node != me).collect();
    *probes += 1;
    let node = known
        .leader
        .filter(|&leader| leader != me)
        .or_else(|| others.get(*probes % others.len().max(1)).copied())
        .ok_or("no leader is known")?;
    let answer = core.peers.request(node, Lane::Bulk, message.encode(), PATIENCE).await;
    let body = answer.map_err(|error| {
        core.leaders.moved(shard, node, None);
        error.to_string()
    })?;
    match decode::<Result<T, AskError>>(&body) {
        Ok(Err(AskError::Moved { leader, .. })) => {
            core.leaders.moved(shard, node, leader);
            Err("its leader is moving".into())
        }
        Ok(read) => Ok(read),
        Err(error) => Ok(Err(undecodable("a page", &error))),
    }
}

fn undecodable(what: &str, error: &holm_persistence::CodecError) -> AskError {
    AskError::Undecodable { command: what.into(), reason: error.to_string().into() }
}
