//! Receives what peers send and hands it to whom it concerns. Open from the first moment, also while there is nothing behind it yet.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use holm_core::NodeId;
use holm_persistence::{LogId as StoreLog, decode, encode};

use super::core::Core;
use super::messages::{
    JOIN, JoinAnswer, JoinRequest, LEAVE, LeaveRequest, REPORT, Report, SNAPSHOT, SnapshotCopy,
};
use crate::raft::rpc;
use crate::transport::{Lane, PeerHandler, PeerInfo, Responder};
use crate::wire::Message;

/// The receiving end of a node.
#[derive(Default)]
pub(super) struct Gate {
    /// Weak, because the node holds the transport and the transport holds the gate: a dropped node must let go of its data directory.
    core: OnceLock<Weak<Core>>,
}

impl Gate {
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
                raft(&core, group, kind, bytes, respond)
            }
            (Message::Raft { .. }, None) => respond.respond(rpc::failure("this node is starting")),
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

fn raft(core: &Arc<Core>, group: u32, kind: u8, bytes: Bytes, respond: Responder) {
    match core.group(StoreLog(group)) {
        Some(found) => found.serve(kind, bytes, respond),
        None => respond.respond(rpc::failure("this node has no replica of that group")),
    }
}

fn cluster(core: Option<&Arc<Core>>, from: &PeerInfo, kind: u8, bytes: &[u8], respond: Responder) {
    match (kind, core) {
        (JOIN, None) => respond_with(respond, &JoinAnswer::NotFormed),
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
