//! The doors of the fuzz targets to what replicas say to each other and to what a group stores. See [`crate::fuzzing`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holm_persistence::decode;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, EntryPayload};

use super::memberships::Memberships;
use super::{Entry, Membership, Payload, Types, Vote, entry, log_storage, rpc};
use crate::fuzzing::encoded;

/// What the first byte of an input says that the rest is.
mod kind {
    pub(super) const APPEND: u8 = 0;
    pub(super) const VOTE: u8 = 1;
    pub(super) const TRANSFER: u8 = 2;
    pub(super) const ENTRY: u8 = 3;
    pub(super) const MEMBERSHIPS: u8 = 4;
    pub(super) const ANSWER: u8 = 5;
    pub(super) const LOG_ID: u8 = 6;
    pub(super) const REST: u8 = 7;
    pub(super) const COUNT: u8 = 8;
}

/// A message of a group, an answer to one, or something that a group stores.
pub fn raft(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    match kind % kind::COUNT {
        kind::APPEND => {
            if let Ok(append) = rpc::read_append(bytes) {
                let mut again = Vec::new();
                rpc::write_append(&append, &mut again).expect("what was read can be written");
                let again = rpc::read_append(again.into()).expect("and read again");
                assert_eq!(again.entries, append.entries);
            }
        }
        kind::VOTE => drop(decode::<VoteRequest<Types>>(rest)),
        kind::TRANSFER => drop(decode::<TransferLeaderRequest<Types>>(rest)),
        kind::ENTRY => {
            if let Ok(entry) = entry::from_bytes(7, &bytes) {
                let again = entry::to_bytes(&entry).expect("what was read can be written");
                assert_eq!(entry::from_bytes(7, &again).expect("and read again"), entry);
            }
        }
        kind::MEMBERSHIPS => {
            if let Ok(memberships) = Memberships::from_bytes(Some(bytes)) {
                memberships.at(7);
            }
        }
        kind::ANSWER => {
            drop(rpc::read_answer::<AppendEntriesResponse<Types>>(&bytes));
            drop(rpc::read_answer::<VoteResponse<Types>>(&bytes));
            drop(rpc::read_answer::<TransferLeaderResponse<Types>>(&bytes));
        }
        kind::REST => drop(decode::<rpc::RestRequest>(rest)),
        _ => drop(log_storage::read_log_id(rest)),
    }
}

/// Seeds of [`raft`].
#[must_use]
pub fn raft_seeds() -> Vec<Vec<u8>> {
    let voters = BTreeSet::from([1_u64, 2, 3]);
    let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|id| (*id, EmptyNode::new())).collect();
    let membership = Membership::new(vec![voters], nodes).expect("voters that are nodes");
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Payload(Bytes::from_static(b"batch"))),
        EntryPayload::Membership(membership),
    ];
    let entries: Vec<Entry> = (10..)
        .zip(payloads)
        .map(|(index, payload)| Entry { log_id: entry::log_id(3, index), payload })
        .collect();
    let mut memberships = Memberships::default();
    entries.iter().for_each(|entry| _ = memberships.note(entry));
    let (vote, last) = (Vote::new_committed(3, 1), Some(entry::log_id(2, 9)));
    let append = |entries: &[Entry]| {
        let mut bytes = Vec::new();
        let request = AppendEntriesRequest {
            vote,
            prev_log_id: last,
            entries: entries.to_vec(),
            leader_commit: last,
        };
        rpc::write_append(&request, &mut bytes).expect("a short message");
        bytes
    };
    let mut bodies = vec![
        (kind::APPEND, append(&[])),
        (kind::APPEND, append(&entries)),
        (kind::VOTE, encoded(&VoteRequest::<Types>::new(vote, last)).to_vec()),
        (kind::TRANSFER, encoded(&TransferLeaderRequest::<Types>::new(vote, 2, last)).to_vec()),
        (kind::MEMBERSHIPS, memberships.to_bytes().expect("a short list").to_vec()),
        (kind::ANSWER, rpc::failure("no such group").to_vec()),
        (kind::ANSWER, [&[0], &encoded(&AppendEntriesResponse::<Types>::Success)[..]].concat()),
        (
            kind::ANSWER,
            [&[0], &encoded(&VoteResponse::<Types>::new(vote, last, true))[..]].concat(),
        ),
        (kind::LOG_ID, vec![0; 16]),
        (
            kind::REST,
            encoded(&rpc::RestRequest { leader: 1, term: 3, last: entry::log_id(2, 9) }).to_vec(),
        ),
    ];
    for entry in &entries {
        bodies.push((kind::ENTRY, entry::to_bytes(entry).expect("a short entry").to_vec()));
    }
    bodies.into_iter().map(|(kind, body)| [&[kind], &body[..]].concat()).collect()
}
