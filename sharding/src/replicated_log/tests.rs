//! The laws of the shard log against the replicated log: one node, real store, real elections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{NodeId, ShardId, Term};
use holm_persistence::conformance::{OTHER_SHARD, SHARD, Subject, checks, wait};
use holm_persistence::{Opened, ShardLog, Store, StoreOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;
use crate::raft::group::{Group, GroupParts};
use crate::raft::log_storage::{GroupLog, KeepCommitted};
use crate::raft::machine::Machine;
use crate::raft::{self, ConsensusTimes, EmptyNode, entry};
use crate::transport::{Lane, NodeIdentity, PeerHandler, PeerInfo, Peers, PeersOptions, Responder};

const TAIL_BYTES: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

struct Nobody;

impl PeerHandler for Nobody {
    fn handle(&self, _: &PeerInfo, _: Lane, _: Bytes, _: Responder) {}
}

/// A node of its own whose groups stand for election only when told to, so that a term lasts until the check wants the next.
struct Alone {
    runtime: Runtime,
    peers: Peers,
    directory: TempDir,
    live: Option<Live>,
}

struct Live {
    store: Arc<Store>,
    log: Arc<ReplicatedLog>,
    groups: BTreeMap<ShardId, Group>,
    _interrupted: mpsc::UnboundedReceiver<Interrupted>,
}

impl Alone {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let me = NodeIdentity { node: NodeId(1), name: "alone".into(), incarnation: 1, http: None };
        let peers = runtime
            .block_on(Peers::start(PeersOptions::new("laws", me), Arc::new(Nobody)))
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut alone = Self { runtime, peers, directory, live: None };
        alone.start();
        alone
    }

    fn start(&mut self) {
        let store = Store::open(self.directory.path(), StoreOptions::default()).unwrap();
        let (failures, interrupted) = mpsc::unbounded_channel();
        let log = Arc::new(ReplicatedLog::new(store.clone(), failures));
        self.live = Some(Live { store, log, groups: BTreeMap::new(), _interrupted: interrupted });
        for shard in [SHARD, OTHER_SHARD] {
            self.start_group(shard);
        }
    }

    fn start_group(&mut self, shard: ShardId) {
        let live = self.live.as_mut().unwrap();
        let group_log =
            GroupLog::open(live.store.clone(), shard.into(), TAIL_BYTES, KeepCommitted::No)
                .unwrap();
        let follower = live.log.follower(shard).unwrap();
        let (index, progress) = (follower.index(), follower.progress());
        let watermark = index.watermark();
        let applied = (watermark > 0)
            .then(|| entry::log_id(group_log.term_at(watermark).unwrap().unwrap(), watermark));
        let mut config = raft::config("laws", ConsensusTimes::default()).unwrap();
        config.enable_elect = false;
        let parts = GroupParts {
            id: shard.into(),
            me: NodeId(1),
            config: Arc::new(config),
            peers: self.peers.clone(),
            log: group_log.clone(),
            machine: Machine::new(applied, group_log.membership_at(watermark), Box::new(follower)),
        };
        let group = self.runtime.block_on(Group::start(parts)).unwrap();
        let replica = Replica::new(shard, Arc::new(group.clone()), group_log, index, progress);
        live.log.insert(Arc::new(replica));
        live.groups.insert(shard, group);
    }

    fn stop_group(&mut self, shard: ShardId) {
        let live = self.live.as_mut().unwrap();
        let group = live.groups.remove(&shard).unwrap();
        self.runtime.block_on(group.stop());
        let replica = live.log.remove(shard).unwrap();
        replica.index().flush().unwrap();
    }

    /// Makes the group elect itself at a new term.
    fn elect(&mut self, shard: ShardId) -> Term {
        let group = self.live.as_ref().unwrap().groups[&shard].clone();
        self.runtime.block_on(async move {
            let raft = group.raft();
            if raft.is_initialized().await.unwrap() {
                raft.trigger().elect(false).await.unwrap();
            } else {
                raft.initialize(BTreeMap::from([(1, EmptyNode::new())])).await.unwrap();
            }
            let elected = |metrics: &raft::Metrics| metrics.state.is_leader();
            raft.wait(Some(PATIENCE)).metrics(elected, "it elects itself").await.unwrap();
            Term(group.metrics().current_term)
        })
    }
}

impl Subject for Alone {
    fn log(&self) -> Arc<dyn ShardLog> {
        self.live.as_ref().unwrap().log.clone()
    }

    fn lead(&mut self, shard: ShardId) -> (Term, Opened) {
        if self.live.as_ref().unwrap().groups[&shard].metrics().state.is_leader() {
            // A leader does not stand for election; one that starts again does, and its term is new.
            self.stop_group(shard);
            self.start_group(shard);
        }
        let term = self.elect(shard);
        let opened = wait(self.log().open(shard, term)).unwrap();
        (term, opened)
    }

    fn reopen(&mut self) -> bool {
        for shard in [SHARD, OTHER_SHARD] {
            self.stop_group(shard);
        }
        let Live { store, .. } = self.live.take().unwrap();
        store.close().unwrap();
        drop(store);
        self.start();
        true
    }

    fn break_next_append(&mut self, _: ShardId) -> bool {
        false
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if self.live.is_some() {
            self.stop_group(SHARD);
            self.stop_group(OTHER_SHARD);
        }
    }
}

/// Every law of the contract, the journal rules and the snapshot rules.
#[test]
fn the_replicated_log_keeps_the_laws() {
    for check in checks() {
        println!("{}", check.name);
        let mut subject = Alone::new();
        (check.run)(&mut subject);
    }
}
