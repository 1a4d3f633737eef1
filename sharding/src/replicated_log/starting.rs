//! Starting the replica of a shard: its group over its log, with a follower that goes on where the index stopped.

use std::io;
use std::sync::Arc;

use holm_core::{NodeId, ShardId};

use super::{Replica, ReplicatedLog, ShardFollower};
use crate::raft::group::{Group, GroupParts};
use crate::raft::log_storage::GroupLog;
use crate::raft::machine::Machine;
use crate::raft::{Config, ConsensusTimes, entry};
use crate::transport::Peers;

/// What all groups of a node have in common.
#[derive(Clone)]
pub(crate) struct GroupSeat {
    pub(crate) me: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) times: ConsensusTimes,
    pub(crate) peers: Peers,
}

impl ReplicatedLog {
    /// Starts a replica on the present runtime and takes it in.
    pub(crate) async fn start(
        &self,
        shard: ShardId,
        log: GroupLog,
        seat: GroupSeat,
    ) -> io::Result<(Group, Arc<Replica>)> {
        let follower = ShardFollower::open(&self.store, self.trims.clone(), shard, log.clone())?;
        let (index, progress) = (follower.index(), follower.progress());
        let applied = applied(&log, index.watermark())?;
        let membership = log.membership_at(applied.map_or(0, |id| id.index()));
        let GroupSeat { me, config, times, peers } = seat;
        let machine = Machine::new(applied, membership, Box::new(follower));
        let log_of_group = log.clone();
        let group = Group::start(GroupParts {
            id: shard.into(),
            me,
            config,
            times,
            peers,
            log: log_of_group,
            machine,
        })
        .await?;
        let replica = Arc::new(Replica::new(shard, Arc::new(group.clone()), log, index, progress));
        self.insert(replica.clone());
        Ok((group, replica))
    }
}

/// The log id up to which the index has followed, so that openraft goes on after it.
fn applied(log: &GroupLog, watermark: u64) -> io::Result<Option<crate::raft::LogId>> {
    if watermark == 0 || log.last_index().is_none_or(|last| last < watermark) {
        return Ok(None);
    }
    let term = log.term_at(watermark)?;
    Ok(term.map(|term| entry::log_id(term, watermark)))
}
