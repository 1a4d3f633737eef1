//! The task that gossips: one chitchat after the other.
//!
//! Datagrams come from anybody, and some end chitchat by one of its assertions (0.13: a highest version below that of a key in the same message). Whoever
//! follows gossip would never hear of it, so it begins again, with a generation that is new to the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::Transport;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState,
    ProtocolVersion, spawn_chitchat,
};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::JoinSet;

use super::{LiveNode, MembershipOptions, Said, key, read_nodes};

const GOSSIP_INTERVAL: Duration = Duration::from_millis(100);

/// Silence, in multiples of the usual interval, after which a node counts as gone. Measured here: 0.6 to 0.9 s.
const PHI: f64 = 8.0;

/// Intervals remembered. 100 are some ten seconds: a machine that slows down is understood soon.
const WINDOW: usize = 100;

/// What a first interval is taken to be, before any was seen.
const FIRST_INTERVAL: Duration = Duration::from_millis(150);

/// Intervals longer than this are pauses, not intervals, and teach nothing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);

/// How long nodes that are gone are remembered, so that old gossip does not bring them back.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// Before gossip that ended begins again: who ends it again and again costs no more than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Bits of chitchat's generation that count the lives of one process.
const LIFE_BITS: u32 = 16;

/// What each life begins with.
pub(super) struct Lives {
    pub(super) options: MembershipOptions,
    /// Where this node's peers reach it.
    pub(super) peer: SocketAddr,
    /// Where datagrams come in.
    pub(super) listen: SocketAddr,
    /// How many there were before.
    pub(super) past: u64,
}

type Nodes = watch::Sender<Arc<Vec<LiveNode>>>;

impl Lives {
    pub(super) async fn begin(
        &self,
        said: Said,
        transport: &dyn Transport,
    ) -> Result<ChitchatHandle, String> {
        let (config, first) = self.config(said);
        let begun = spawn_chitchat(config, first, transport).await;
        begun.map_err(|error| error.to_string())
    }

    /// How the next life is set up, and what it says of this node from the first moment on.
    pub(super) fn config(&self, said: Said) -> (ChitchatConfig, Vec<(String, String)>) {
        let options = &self.options;
        // Behind the last life that is counted the same generation is used again: the others hear of this node when its heartbeat has caught up.
        let life = self.past.min((1 << LIFE_BITS) - 1);
        let generation = (options.incarnation << LIFE_BITS) | life;
        let id = ChitchatId::new(options.name.as_str(), generation, self.peer);
        let first = [
            (key::START, options.incarnation.to_string()),
            (key::NODE, said.node.to_string()),
            (key::PEER, self.peer.to_string()),
            (key::HTTP, options.http.clone().unwrap_or_default()),
            (key::LOAD, said.load.to_string()),
        ];
        let first = first.map(|(key, value)| (key.to_owned(), value)).to_vec();
        (config(options, id, self.listen), first)
    }

    /// Gossips until told to stop. `running` is the first life.
    pub(super) async fn live(
        mut self,
        transport: impl Transport,
        running: ChitchatHandle,
        said: watch::Receiver<Said>,
        tell: Nodes,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut running = Some(running);
        loop {
            if let Some(life) = running.take() {
                tokio::select! {
                    _ = &mut stop => return end(life).await,
                    () = one(&life, &said, &tell) => {}
                }
                tracing::warn!("gossip ended by something that it was sent; it begins again");
                end(life).await;
            }
            tokio::select! {
                _ = &mut stop => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            self.past += 1;
            let now = *said.borrow();
            running = self
                .begin(now, &transport)
                .await
                .inspect_err(|error| tracing::warn!(%error, "gossip does not begin again"))
                .ok();
        }
    }
}

/// Lasts as long as this chitchat does: it speaks, it is followed, and none of that has panicked.
async fn one(life: &ChitchatHandle, said: &watch::Receiver<Said>, tell: &Nodes) {
    let nodes = life.chitchat().lock().await.live_nodes_watcher();
    let ended = life.termination_watcher();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(ended.await) });
    tasks.spawn(follow(nodes, tell.clone()));
    tasks.spawn(repeat(life.chitchat(), said.clone()));
    tasks.join_next().await;
}

async fn end(life: ChitchatHandle) {
    if let Err(error) = life.shutdown().await {
        tracing::debug!(%error, "gossip ended with an error");
    }
}

fn config(options: &MembershipOptions, id: ChitchatId, listen: SocketAddr) -> ChitchatConfig {
    ChitchatConfig {
        listen_addr: listen,
        chitchat_id: id,
        cluster_id: options.cluster.clone(),
        gossip_interval: GOSSIP_INTERVAL,
        seed_nodes: options.seeds.iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::new(
            PHI,
            WINDOW,
            LONGEST_INTERVAL,
            FIRST_INTERVAL,
            MEMORY,
        ),
        marked_for_deletion_grace_period: MEMORY,
        catchup_callback: None,
        extra_liveness_predicate: None,
        // The only version that is as old as the crate; the newer one compresses, which a handful of keys does not need.
        protocol_version: ProtocolVersion::V0,
    }
}

/// Says to the others what this node says of itself, as long as there is somebody who changes it.
async fn repeat(chitchat: Arc<Mutex<Chitchat>>, mut said: watch::Receiver<Said>) {
    loop {
        let now = *said.borrow_and_update();
        {
            let mut chitchat = chitchat.lock().await;
            let state = chitchat.self_node_state();
            state.set(key::NODE, now.node);
            state.set(key::LOAD, now.load);
        }
        if said.changed().await.is_err() {
            // The membership is gone, and whoever runs this is told to stop.
            std::future::pending::<()>().await;
        }
    }
}

async fn follow(mut nodes: watch::Receiver<BTreeMap<ChitchatId, NodeState>>, tell: Nodes) {
    loop {
        let live = read_nodes(&nodes.borrow_and_update());
        tell.send_if_modified(|known| {
            let changed = **known != live;
            if changed {
                *known = Arc::new(live);
            }
            changed
        });
        if nodes.changed().await.is_err() {
            return;
        }
    }
}
