//! The doors of the fuzz targets into this crate: every decoder that reads what a peer sends, and seeds made from real encodings.
//!
//! Compiled for tests and for fuzzing only.

use bytes::Bytes;
use holm_core::{
    Answer, AskError, CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress,
    IdempotencyKey, NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp, Verdict,
};
use holm_persistence::{Batch, decode, encode};
use holm_runtime::{ConversationEntry, ConversationPage, HistoryPage};

use crate::cluster_log::{ClusterState, Fact, MemberStatus, NodeFacts};
use crate::view::{ClusterView, MemberState, MemberView, ShardState, ShardView};
use crate::wire::{BatchesAnswer, CommandAnswer, ConversationAnswer, HistoryAnswer, Message};

pub use crate::membership::fuzzing::{gossip, gossip_seeds};
pub use crate::node::fuzzing::{cluster, cluster_seeds};
pub use crate::raft::fuzzing::{raft, raft_seeds};
pub use crate::replicated_log::fuzzing::{shard_entry, shard_entry_seeds};
pub use crate::transport::fuzzing::{frames, frames_seeds, handshake, handshake_seeds};

/// The vocabulary: a message, or the answer to one.
pub fn wire(data: &[u8]) {
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(Message::decode(message.encode()).as_ref(), Ok(&message));
    }
    let Some((&kind, body)) = data.split_first() else { return };
    match kind % 5 {
        0 => drop(decode::<CommandAnswer>(body)),
        1 => {
            if let Ok(Ok(page)) = decode::<HistoryAnswer>(body)
                && let Ok(page) = decode::<HistoryPage>(&page)
            {
                page.stored_records().iter().for_each(|stored| drop(stored.decode()));
            }
        }
        2 => {
            if let Ok(Ok(batches)) = decode::<BatchesAnswer>(body) {
                batches.into_iter().for_each(|batch| drop(Batch::parse(batch)));
            }
        }
        3 => {
            if let Ok(Ok(page)) = decode::<ConversationAnswer>(body) {
                drop(decode::<ConversationPage>(&page));
            }
        }
        _ => {
            if let Ok(view) = decode::<ClusterView>(body) {
                let leaders = view.shards.iter().filter_map(|shard| shard.leader);
                leaders.for_each(|leader| _ = view.member(leader));
                view.shards.iter().for_each(|shard| _ = view.shard(shard.id));
            }
        }
    }
}

/// Seeds of [`wire`].
#[must_use]
pub fn wire_seeds() -> Vec<Vec<u8>> {
    let address: EntityAddress = "account/alice".parse().expect("a good address");
    let messages = [
        Message::Raft { group: u32::MAX, kind: 3, bytes: Bytes::from_static(b"raft") },
        Message::Cluster { kind: 9, bytes: Bytes::from_static(b"join") },
        Message::Command(CommandEnvelope {
            address: address.clone(),
            command: "deposit".into(),
            payload: Bytes::from_static(b"\x05"),
            key: IdempotencyKey::new("once").expect("a good key"),
            id: CommandId(1),
            correlation: CorrelationId(2),
            causation: CausationId(3),
            deadline: Timestamp::from_millis(4),
        }),
        Message::View,
        Message::History { address, after: SequenceNumber(7), limit: 100 },
        Message::Batches { shard: ShardId(3), from: Offset(1), max_bytes: 4096 },
        Message::Tail { shard: ShardId(3), seen: Some(Offset(9)) },
        Message::Conversation {
            shard: ShardId(3),
            correlation: CorrelationId(2),
            from: Offset(1),
            max_bytes: 4096,
        },
        Message::Follow { shard: ShardId(3), seen: Offset(9), max_bytes: 4096 },
    ];
    let answer = Answer {
        verdict: Verdict::Accepted(Bytes::from_static(b"\x07")),
        sequence: SequenceNumber(1),
        shard: ShardId(2),
        offset: Offset(3),
        replayed: true,
        served_by: NodeId(1),
    };
    let moved = AskError::Moved { shard: ShardId(1), leader: Some(NodeId(2)) };
    let page = HistoryPage {
        records: vec![(Offset(1), Bytes::from_static(b"record"))],
        highest: SequenceNumber(1),
        head: Offset(1),
        more: false,
    };
    let page: HistoryAnswer = Ok(encoded(&page));
    let batches: BatchesAnswer = Ok(vec![Bytes::from_static(b"batch")]);
    let entry = ConversationEntry {
        offset: Offset(1),
        made_by: Some(NodeId(2)),
        bytes: Bytes::from_static(b"record"),
    };
    let found = ConversationPage {
        records: vec![entry],
        known_from: Some(Offset(1)),
        next: Some(Offset(2)),
    };
    let found: ConversationAnswer = Ok(encoded(&found));
    let answers = [
        (0, encoded::<CommandAnswer>(&Ok(answer))),
        (0, encoded::<CommandAnswer>(&Err(moved))),
        (1, encoded(&page)),
        (2, encoded(&batches)),
        (3, encoded(&found)),
        (4, encoded(&view())),
    ];
    let messages = messages.iter().map(|message| message.encode().to_vec());
    messages.chain(answers.iter().map(|(kind, body)| [&[*kind], &body[..]].concat())).collect()
}

/// Facts of the cluster log, each with its length (u16) before it, taken in one after the other.
pub fn facts(data: &[u8]) {
    let (mut state, mut rest) = (ClusterState::default(), data);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (fact, after) =
            after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        if let Ok(fact) = decode::<Fact>(fact) {
            let before = state.clone();
            if state.apply(fact).is_err() {
                assert_eq!(state, before, "a fact that contradicts has no effect");
            }
        }
        rest = after;
    }
    for node in state.in_status(MemberStatus::Up) {
        state.planned_for(node);
    }
    let given = state.members.keys().all(|node| node.0 < state.next_node);
    assert!(given, "an id is given once");
}

/// Seeds of [`facts`].
#[must_use]
pub fn facts_seeds() -> Vec<Vec<u8>> {
    let (at, node) = (Timestamp::from_millis(5), NodeId(1));
    let created = Fact::Created {
        cluster: 9,
        name: "dev".to_owned(),
        shards: 2,
        replication: 1,
        expected_nodes: 1,
        at,
    };
    let shard = crate::plan::ShardPlan { replicas: vec![node], preferred: node };
    let plan = crate::plan::Plan {
        version: 1,
        members: vec![node],
        replication: 1,
        shards: vec![shard.clone(), shard],
    };
    let facts = [
        created,
        Fact::NodeAdmitted { node, directory: 4, facts: node_facts(), at },
        Fact::NodeUp { node, at },
        Fact::PlanAdopted { plan, at },
        Fact::NodeDown { node, at },
        Fact::NodeReturned { node, facts: node_facts(), at },
        Fact::NodeLeaving { node, at },
        Fact::NodeLeft { node, at },
    ];
    let lengthened = |fact: &Fact| {
        let bytes = encoded(fact);
        let length = u16::try_from(bytes.len()).expect("a short fact").to_le_bytes();
        [&length[..], &bytes].concat()
    };
    let each: Vec<Vec<u8>> = facts.iter().map(lengthened).collect();
    (1..=each.len()).map(|count| each[..count].concat()).collect()
}

pub(crate) fn node_facts() -> NodeFacts {
    NodeFacts {
        name: "holm-1".to_owned(),
        peer: ([127, 0, 0, 1], 4000).into(),
        http: Some("http://127.0.0.1:7070".to_owned()),
        incarnation: 3,
    }
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Bytes {
    encode(value).expect("the vocabulary can be encoded")
}

fn view() -> ClusterView {
    let NodeFacts { name, peer, http, incarnation } = node_facts();
    let (id, state) = (NodeId(1), MemberState::Up);
    let since = Timestamp::from_millis(1);
    ClusterView {
        cluster: "dev".to_owned(),
        version: 4,
        members: vec![MemberView { id, name, peer, http, state, incarnation, since }],
        shards: vec![ShardView {
            id: ShardId(0),
            leader: Some(id),
            term: Term(2),
            replicas: vec![id],
            state: ShardState::Serving,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Door = (fn(&[u8]), fn() -> Vec<Vec<u8>>);

    /// Every seed and every beginning of it goes through its door.
    #[test]
    fn seeds_and_their_beginnings_pass() {
        let doors: [Door; 8] = [
            (frames, frames_seeds),
            (handshake, handshake_seeds),
            (wire, wire_seeds),
            (raft, raft_seeds),
            (cluster, cluster_seeds),
            (facts, facts_seeds),
            (gossip, gossip_seeds),
            (shard_entry, shard_entry_seeds),
        ];
        for (door, seeds) in doors {
            for seed in seeds() {
                (0..=seed.len()).for_each(|end| door(&seed[..end]));
            }
        }
    }
}
