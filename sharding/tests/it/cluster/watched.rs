//! A host that notes what its node tells it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term,
};
use holm_persistence::{OpenError, Pending};
use holm_runtime::{Asker, ClusterEvent, FailureKind, Subject};
use holm_sharding::{ClusterOptions, HostedShards, LocalShards, OnAnswer};

/// What a host was told about a shard, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Lead,
    /// Nothing is under way any more.
    Drained,
    Depose,
}

pub(crate) type Notes = Arc<Mutex<Vec<(ShardId, Told)>>>;

struct Watched {
    host: Arc<dyn HostedShards>,
    notes: Notes,
}

/// Has the host of a node that is about to start watched.
pub(crate) fn watch(options: &mut ClusterOptions) -> Notes {
    let notes = Notes::default();
    let noted = notes.clone();
    let start = std::mem::replace(&mut options.start_host, Box::new(|_| Err("taken".to_owned())));
    options.start_host =
        Box::new(move |seat| Ok(Arc::new(Watched { host: start(seat)?, notes: noted })));
    notes
}

impl Watched {
    fn note(&self, shard: ShardId, told: Told) {
        self.notes.lock().unwrap().push((shard, told));
    }
}

impl LocalShards for Watched {
    fn leads(&self, shard: ShardId) -> bool {
        self.host.leads(shard)
    }

    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer) {
        self.host.submit(envelope, done);
    }

    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        self.host.history(address, after, limit)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.host.batches(shard, from, max_bytes)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        self.host.conversation(shard, correlation, from, max_bytes)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.host.tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.host.follow(shard, seen, max_bytes)
    }
}

impl HostedShards for Watched {
    fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>> {
        self.note(shard, Told::Lead);
        self.host.lead(shard, term)
    }

    fn drain(&self, shard: ShardId) -> Pending<()> {
        let (drained, notes) = (self.host.drain(shard), self.notes.clone());
        Box::pin(async move {
            drained.await;
            notes.lock().unwrap().push((shard, Told::Drained));
        })
    }

    fn depose(&self, shard: ShardId) {
        self.note(shard, Told::Depose);
        self.host.depose(shard);
    }

    fn connect(&self, asker: Arc<dyn Asker>) {
        self.host.connect(asker);
    }

    fn report(&self, kind: FailureKind, subject: Subject, reason: &str) {
        self.host.report(kind, subject, reason);
    }

    fn announce(&self, event: ClusterEvent) {
        self.host.announce(event);
    }

    fn stop(&self) {
        self.host.stop();
    }
}
