//! The door of the fuzz target to what nodes ask of each other. See [`crate::fuzzing`].

use bytes::Bytes;
use holm_core::{NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp};
use holm_persistence::decode;

use super::messages::{
    JoinAnswer, JoinRequest, LeadPhase, LeaveRequest, LedShard, Report, SnapshotCopy,
};
use super::resting::Shared;
use crate::fuzzing::{encoded, node_facts};

/// A request between nodes or its answer; the first byte says which.
pub fn cluster(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else { return };
    match kind % 6 {
        0 => drop(decode::<JoinRequest>(body)),
        1 => drop(decode::<JoinAnswer>(body)),
        2 => drop(decode::<LeaveRequest>(body)),
        3 => drop(decode::<Report>(body)),
        5 => drop(decode::<Shared>(body)),
        _ => {
            if let Ok(copy) = decode::<SnapshotCopy>(body) {
                copy.into_snapshot();
            }
        }
    }
}

/// Seeds of [`cluster`].
#[must_use]
pub fn cluster_seeds() -> Vec<Vec<u8>> {
    let (node, shard) = (NodeId(2), ShardId(3));
    let peers = vec![(node, ([127, 0, 0, 1], 4000).into())];
    let join = JoinRequest {
        cluster: "dev".to_owned(),
        directory: 9,
        member: Some((7, node)),
        facts: node_facts(),
        shards: 32,
        replication: 3,
        forwarded: false,
    };
    let led = LedShard {
        shard,
        term: Term(4),
        phase: LeadPhase::Serving,
        members: vec![node],
        voters: 1,
        settled: true,
    };
    let copy = SnapshotCopy {
        shard,
        address: "account/alice".parse().expect("a good address"),
        sequence: SequenceNumber(5),
        offset: Offset(6),
        at: Timestamp::from_millis(7),
        payload: Bytes::from_static(b"state"),
    };
    let reason = || "why".to_owned();
    let bodies = [
        (0, encoded(&join)),
        (1, encoded(&JoinAnswer::Member { cluster: 7, node, peers: peers.clone() })),
        (1, encoded(&JoinAnswer::NotFormed)),
        (1, encoded(&JoinAnswer::Wait { reason: reason(), peers })),
        (1, encoded(&JoinAnswer::Refused { reason: reason() })),
        (2, encoded(&LeaveRequest { node, forwarded: true })),
        (3, encoded(&Report { node, incarnation: 1, led: vec![led] })),
        (4, encoded(&copy)),
        (5, encoded(&Shared::default())),
    ];
    bodies.iter().map(|(kind, body)| [&[*kind], &body[..]].concat()).collect()
}
