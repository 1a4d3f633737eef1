//! What a group does about its rest: as a follower it agrees or not, and whoever needs its leader rouses it.

use bytes::Bytes;
use holm_core::NodeId;
use holm_persistence::decode;
use openraft::async_runtime::watch::WatchReceiver as _;

use super::{Group, awaits_majority};
use crate::raft::consensus::Consensus as _;
use crate::raft::network;
use crate::raft::rest::{Agreement, Rest};
use crate::raft::rpc::{self, RestRequest};
use crate::transport::Peers;

impl Group {
    /// Its rest here.
    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Under whom it rests, when it does. What was seen of the group since it agreed must bear that out; else it wakes.
    pub(crate) fn rests(&self) -> Option<Agreement> {
        let agreement = self.rest.agreement()?;
        if agreement.fits(&self.raft.metrics().borrow_watched()) {
            return Some(agreement);
        }
        self.rest.wake();
        None
    }

    /// Agrees to rest, when this replica has all that its leader has.
    pub(super) fn answer_rest(&self, bytes: &Bytes) -> Bytes {
        match decode::<RestRequest>(bytes) {
            Ok(request) => {
                let agreed = self.log.floor().is_none()
                    && request.is_met_by(&self.raft.metrics().borrow_watched());
                if agreed {
                    self.rest.obey(Agreement { leader: request.leader, term: request.term });
                }
                rpc::rest_answer(agreed)
            }
            Err(error) => rpc::failure(&error.to_string()),
        }
    }

    /// Wakes the group and waits until a majority answers its leader, for what openraft refuses otherwise: a change of members.
    pub(crate) async fn rouse(&self) {
        self.rest.stir();
        let mut metrics = self.raft.metrics();
        let term = self.term();
        let answered = async {
            while awaits_majority(&metrics.borrow_watched(), term, self.times) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whoever waits in vain hears from openraft why.
        let _ = tokio::time::timeout(self.times.election_max, answered).await;
    }

    /// Asks the other voters whether they rest too. Whatever is not a yes in time is a no.
    pub(crate) async fn ask_to_rest(
        &self,
        peers: &Peers,
        request: &RestRequest,
        others: &[NodeId],
    ) -> bool {
        let questions = others
            .iter()
            .map(|node| network::ask_to_rest(peers, self.id, *node, request, self.times));
        futures::future::join_all(questions).await.into_iter().all(|agreed| agreed)
    }
}
