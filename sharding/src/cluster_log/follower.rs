//! Follows the committed facts and publishes the state after each.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use holm_persistence::{decode, encode};
use tokio::sync::watch;

use super::fact::Fact;
use super::state::ClusterState;
use crate::raft::Applied;
use crate::raft::machine::Follower;

/// Follows the cluster log.
pub(crate) struct ClusterFollower {
    state: watch::Sender<Arc<ClusterState>>,
}

impl ClusterFollower {
    /// A follower at the beginning of the log, and where the states come out.
    pub(crate) fn new() -> (Self, watch::Receiver<Arc<ClusterState>>) {
        let (state, states) = watch::channel(Arc::default());
        (Self { state }, states)
    }

    fn step(&self, index: u64, change: impl FnOnce(&mut ClusterState) -> Applied) -> Applied {
        let mut next = ClusterState::clone(&self.state.borrow());
        next.version = index;
        let applied = change(&mut next);
        self.state.send_replace(Arc::new(next));
        applied
    }
}

/// The entry that holds a fact.
pub(crate) fn fact_payload(fact: &Fact) -> io::Result<Bytes> {
    encode(fact).map_err(io::Error::other)
}

impl Follower for ClusterFollower {
    fn follow(&mut self, index: u64, _term: u64, payload: &Bytes) -> io::Result<Applied> {
        let Ok(fact) = decode::<Fact>(payload) else {
            // A fact that only a newer version knows must not be skipped: this node would disagree with the others from here on.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("fact {index} of the cluster log is not known to this version"),
            ));
        };
        Ok(self.step(index, |state| match state.apply(fact) {
            Ok(()) => Applied::Accepted,
            Err(_) => Applied::Invalid,
        }))
    }

    fn pass(&mut self, index: u64, _term: u64) {
        self.step(index, |_| Applied::Accepted);
    }
}
