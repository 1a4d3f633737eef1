//! The messages of a group on the wire: how they are laid out, and how a replica answers them.
//!
//! Entries travel as they are stored, behind a bincode head; reading a large one shares the memory of the frame.

use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use holm_persistence::{decode, encode};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{LogId, Metrics, Raft, Types, Vote, entry};
use crate::transport::Responder;

pub(crate) const APPEND: u8 = 1;
pub(crate) const VOTE: u8 = 2;
pub(crate) const PRE_VOTE: u8 = 3;
pub(crate) const TRANSFER: u8 = 4;
/// "Rest": to each follower of a shard's group, from its leader.
pub(crate) const REST: u8 = 5;
/// "I live, and these of our groups rest": from node to node, under the number of the cluster log's group. A version that does not know
/// it says so and goes on, which it would not with an unknown request of the cluster.
pub(crate) const SIGN: u8 = 6;

const DONE: u8 = 0;
const FAILED: u8 = 1;

/// What precedes the entries of an append message.
#[derive(Serialize, Deserialize)]
pub(crate) struct AppendHead {
    vote: Vote,
    previous: Option<LogId>,
    commit: Option<LogId>,
    entries: u32,
}

/// What a leader says to a follower that shall rest. One leader has a term, so the two name its vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestRequest {
    pub(crate) leader: u64,
    pub(crate) term: u64,
    /// The last entry of the log, which is committed and applied.
    pub(crate) last: LogId,
}

impl RestRequest {
    /// Whether a replica has and knows all that its leader has and knows. One that does not goes on hearing heartbeats.
    pub(crate) fn is_met_by(&self, metrics: &Metrics) -> bool {
        metrics.running_state.is_ok()
            && metrics.state.is_follower()
            && metrics.current_term == self.term
            && metrics.current_leader == Some(self.leader)
            && metrics.last_log_index == Some(self.last.index())
            && metrics.local_committed == Some(self.last)
            && metrics.last_applied == Some(self.last)
    }
}

/// Writes an append message.
pub(crate) fn write_append(rpc: &AppendEntriesRequest<Types>, out: &mut Vec<u8>) -> io::Result<()> {
    let head = encode(&AppendHead {
        vote: rpc.vote,
        previous: rpc.prev_log_id,
        commit: rpc.leader_commit,
        entries: length(rpc.entries.len())?,
    })
    .map_err(io::Error::other)?;
    let entries: usize = rpc.entries.iter().map(|entry| entry::payload_hint(entry) + 32).sum();
    out.reserve(head.len() + entries + 8);
    out.put_u32_le(length(head.len())?);
    out.put_slice(&head);
    for entry in &rpc.entries {
        let length_at = out.len();
        out.put_u32_le(0);
        entry::write(entry, out)?;
        let bytes = length(out.len() - length_at - 4)?;
        out[length_at..length_at + 4].copy_from_slice(&bytes.to_le_bytes());
    }
    Ok(())
}

/// Reads an append message.
pub(crate) fn read_append(mut bytes: Bytes) -> io::Result<AppendEntriesRequest<Types>> {
    let head = take(&mut bytes)?;
    let head: AppendHead = decode(&head).map_err(io::Error::other)?;
    let first = head.previous.map_or(Some(0), |previous| previous.index().checked_add(1));
    let first = first.filter(|first| first.checked_add(head.entries.into()).is_some());
    let first = first.ok_or_else(malformed)?;
    let mut entries = Vec::with_capacity((head.entries as usize).min(bytes.len() / 4));
    for step in 0..u64::from(head.entries) {
        entries.push(entry::from_bytes(first + step, &own(take(&mut bytes)?))?);
    }
    if bytes.is_empty() {
        Ok(AppendEntriesRequest {
            vote: head.vote,
            prev_log_id: head.previous,
            entries,
            leader_commit: head.commit,
        })
    } else {
        Err(malformed())
    }
}

/// Entries that are small against a frame get memory of their own: they stay in the tail for long, and would keep all of the frame alive.
fn own(entry: Bytes) -> Bytes {
    const SMALL: usize = 64 * 1024;
    if entry.len() < SMALL { Bytes::copy_from_slice(&entry) } else { entry }
}

fn take(bytes: &mut Bytes) -> io::Result<Bytes> {
    if bytes.len() < 4 {
        return Err(malformed());
    }
    let length = bytes.get_u32_le() as usize;
    if bytes.len() < length {
        return Err(malformed());
    }
    Ok(bytes.split_to(length))
}

fn length(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an append message is malformed")
}

/// Encodes any other message.
pub(crate) fn write_plain(message: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&encode(message).map_err(io::Error::other)?);
    Ok(())
}

/// Reads the answer to a message.
///
/// # Errors
/// What the other replica said when it could not answer, or what is wrong with the answer.
pub(crate) fn read_answer<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, String> {
    match bytes.first() {
        Some(&DONE) => decode(&bytes[1..]).map_err(|error| error.to_string()),
        Some(&FAILED) => Err(String::from_utf8_lossy(&bytes[1..]).into_owned()),
        _ => Err("the answer is malformed".to_owned()),
    }
}

/// The answer of a node that cannot answer.
pub(crate) fn failure(reason: &str) -> Bytes {
    let mut answer = vec![FAILED];
    answer.extend_from_slice(reason.as_bytes());
    answer.into()
}

/// The answer of a replica that was asked to rest.
pub(crate) fn rest_answer(agreed: bool) -> Bytes {
    answer(Ok::<_, String>(agreed))
}

/// The answer of a replica, or what kept it from answering.
pub(crate) fn answer(result: Result<impl Serialize, impl std::fmt::Display>) -> Bytes {
    match result {
        Ok(value) => {
            let mut answer = vec![DONE];
            match write_plain(&value, &mut answer) {
                Ok(()) => answer.into(),
                Err(error) => failure(&error.to_string()),
            }
        }
        Err(error) => failure(&error.to_string()),
    }
}

/// Hands a message to a replica and answers it. Must be called on the cluster's runtime, in the order in which the leader sent: the message
/// is in the replica's queue when this returns, so that appends sent one behind the other are taken one behind the other. What is held `meanwhile` goes when the answer is
/// known.
pub(crate) fn serve(
    raft: &Raft,
    kind: u8,
    bytes: Bytes,
    respond: Responder,
    meanwhile: impl Send + 'static,
) {
    let raft = raft.clone();
    let work: BoxFuture<'static, Bytes> = match kind {
        APPEND => match read_append(bytes) {
            Ok(rpc) => Box::pin(async move { answer(raft.append_entries(rpc).await) }),
            Err(error) => return respond.respond(failure(&error.to_string())),
        },
        VOTE | PRE_VOTE => match decode::<VoteRequest<Types>>(&bytes) {
            Ok(rpc) if kind == VOTE => Box::pin(async move { answer(raft.vote(rpc).await) }),
            Ok(rpc) => Box::pin(async move { answer(raft.pre_vote(rpc).await) }),
            Err(error) => return respond.respond(failure(&error.to_string())),
        },
        TRANSFER => match decode::<TransferLeaderRequest<Types>>(&bytes) {
            Ok(rpc) => Box::pin(async move { answer(raft.handle_transfer_leader(rpc).await) }),
            Err(error) => return respond.respond(failure(&error.to_string())),
        },
        _ => return respond.respond(failure("this version does not know that message")),
    };
    finish(work, respond, meanwhile);
}

fn finish(mut work: BoxFuture<'static, Bytes>, respond: Responder, meanwhile: impl Send + 'static) {
    // The first poll puts the message into the replica's queue; only what then has to wait needs a task.
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => respond.respond(answer),
        Poll::Pending => {
            tokio::spawn(async move {
                let answer = work.await;
                drop(meanwhile);
                respond.respond(answer);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use openraft::raft::{
        AppendEntriesResponse, TransferLeaderResponse, VoteRequest, VoteResponse,
    };

    use super::*;
    use crate::raft::{Entry, Payload};
    use crate::wire::shape::walk;

    #[test]
    fn no_message_of_a_group_is_a_bomb() {
        let walked = [
            walk::<AppendHead>(),
            walk::<AppendEntriesResponse<Types>>(),
            walk::<VoteRequest<Types>>(),
            walk::<VoteResponse<Types>>(),
            walk::<TransferLeaderRequest<Types>>(),
            walk::<TransferLeaderResponse<Types>>(),
            walk::<RestRequest>(),
        ];
        for ways in walked {
            assert!(ways.as_ref().is_ok_and(|ways| *ways > 0), "{ways:?}");
        }
    }

    fn append(count: u64) -> AppendEntriesRequest<Types> {
        let entries = (0..count)
            .map(|step| Entry {
                log_id: entry::log_id(3, 10 + step),
                payload: EntryPayload::Normal(Payload(Bytes::from(vec![7; step as usize]))),
            })
            .collect();
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(entry::log_id(2, 9)),
            entries,
            leader_commit: Some(entry::log_id(2, 8)),
        }
    }

    #[test]
    fn an_append_message_survives_the_wire() {
        for count in [0, 1, 5] {
            let rpc = append(count);
            let mut bytes = Vec::new();
            write_append(&rpc, &mut bytes).unwrap();
            let back = read_append(bytes.into()).unwrap();
            assert_eq!(
                (back.vote, back.prev_log_id, back.leader_commit),
                (rpc.vote, rpc.prev_log_id, rpc.leader_commit)
            );
            assert_eq!(back.entries, rpc.entries);
        }
    }

    #[test]
    fn a_cut_or_padded_append_message_is_an_error() {
        let mut bytes = Vec::new();
        write_append(&append(3), &mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert!(read_append(Bytes::copy_from_slice(&bytes[..end])).is_err(), "cut at {end}");
        }
        bytes.push(0);
        assert!(read_append(bytes.into()).is_err());
    }

    #[test]
    fn entries_behind_the_last_index_are_an_error() {
        let previous = Some(entry::log_id(2, u64::MAX - 2));
        // An entry at the last index would leave none for the next.
        for (count, is_readable) in [(0, true), (1, true), (2, false), (3, false)] {
            let rpc = AppendEntriesRequest { prev_log_id: previous, ..append(count) };
            let mut bytes = Vec::new();
            write_append(&rpc, &mut bytes).unwrap();
            assert_eq!(read_append(bytes.into()).is_ok(), is_readable, "{count} entries");
        }
    }

    #[test]
    fn a_failure_says_why() {
        assert_eq!(read_answer::<u32>(&failure("no such group")), Err("no such group".to_owned()));
        assert_eq!(read_answer::<u32>(&answer(Ok::<u32, String>(5))), Ok(5));
    }
}
