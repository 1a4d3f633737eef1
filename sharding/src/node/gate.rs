//! Receives what peers send and hands it to whom it concerns. Open from the first moment, also while there is nothing behind it yet.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use holm_core::NodeId;
use holm_persistence::{LogId as StoreLog, Store, decode, encode};

use super::core::Core;
use super::messages::{
    JOIN, JoinAnswer, JoinRequest, LEAVE, LeaveRequest, REPORT, Report, SNAPSHOT, SnapshotCopy,
};
use crate::raft::rpc;
use crate::transport::{Lane, PeerHandler, PeerInfo, Responder};
use crate::wire::Message;

/// The receiving end of a node.
pub(super) struct Gate {
    /// Both weak, because the node holds the transport and the transport holds the gate: a dropped node must let go of its data directory.
    store: Weak<Store>,
    core: OnceLock<Weak<Core>>,
}

impl Gate {
    /// A gate with nothing behind it yet.
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::downgrade(store), core: OnceLock::new() }
    }

    /// What a node says to those who want in while it is starting. Its data directory knows already whether there is a cluster; denied for these
    /// moments, a first seed without its disk would found a second one.
    fn join_answer_while_starting(&self) -> JoinAnswer {
        let store = self.store.upgrade();
        if store.is_none_or(|store| store.identity().membership.is_some()) {
            JoinAnswer::Wait { reason: "this member is starting".to_owned(), peers: Vec::new() }
        } else {
            JoinAnswer::NotFormed
        }
    }

    /// From now on there is a node behind it.
    pub(super) fn open(&self, core: &Arc<Core>) {
        // Opened once, by the only start there is.
        let _ = self.core.set(Arc::downgrade(core));
    }
}

impl PeerHandler for Gate {
    fn handle(&self, from: &PeerInfo, _lane: Lane, body: Bytes, respond: Responder) {
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error) => return respond.reject(&error.to_string()),
        };
        match (message, self.core.get().and_then(Weak::upgrade)) {
            (Message::Raft { group, kind, bytes }, Some(core)) => {
                raft(&core, from, group, kind, bytes, respond)
            }
            (Message::Raft { .. }, None) => respond.respond(rpc::failure("this node is starting")),
            (Message::Cluster { kind: JOIN, .. }, None) => {
                respond_with(respond, &self.join_answer_while_starting());
            }
            (Message::Cluster { kind, bytes }, core) => {
                cluster(core.as_ref(), from, kind, &bytes, respond)
            }
            (other, Some(core)) => {
                if let Err((_, respond)) = core.router().serve(from, other, respond) {
                    respond.reject("this node does not serve that");
                }
            }
            // Dropped: the peer is told that there is no answer and asks another node.
            (_, None) => drop(respond),
        }
    }
}

fn raft(core: &Core, from: &PeerInfo, group: u32, kind: u8, bytes: Bytes, respond: Responder) {
    if kind == rpc::SIGN {
        return core.hear_sign(from, &bytes);
    }
    match core.group(StoreLog(group)) {
        Some(found) if kind == rpc::PRE_VOTE && core.rests_under_a_living_leader(&found) => {
            respond.respond(rpc::failure("this replica rests under a leader that lives"));
        }
        Some(found) => found.serve(kind, bytes, respond),
        None => respond.respond(rpc::failure("this node has no replica of that group")),
    }
}

fn cluster(core: Option<&Arc<Core>>, from: &PeerInfo, kind: u8, bytes: &[u8], respond: Responder) {
    match (kind, core) {
        (JOIN, Some(core)) => match decode::<JoinRequest>(bytes) {
            Ok(request) => {
                let core = core.clone();
                tokio::spawn(async move { respond_with(respond, &core.admit(request).await) });
            }
            Err(error) => respond.reject(&error.to_string()),
        },
        (LEAVE, Some(core)) => match decode::<LeaveRequest>(bytes) {
            Ok(request) => {
                let core = core.clone();
                tokio::spawn(
                    async move { respond_with(respond, &core.agree_to_leave(request).await) },
                );
            }
            Err(error) => respond.reject(&error.to_string()),
        },
        (REPORT, Some(core)) => {
            if let Ok(report) = decode::<Report>(bytes)
                && report.node == from.node
                && report.node != NodeId::ZERO
            {
                core.hear(report);
            }
        }
        (SNAPSHOT, Some(core)) => {
            if let Ok(copy) = decode::<SnapshotCopy>(bytes) {
                core.keep_copy(copy);
            }
        }
        (_, None) => drop(respond),
        (_, Some(_)) => respond.reject("this version does not know that request"),
    }
}

fn respond_with(respond: Responder, answer: &impl serde::Serialize) {
    match encode(answer) {
        Ok(bytes) => respond.respond(bytes),
        Err(error) => tracing::error!(%error, "an answer could not be encoded"),
    }
}
