//! The table of leaders: who leads each shard, as far as this process knows, and waking those who wait for a change.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{NodeId, ShardId, Term};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::view::{ClusterView, ShardState};

/// Least time between two probes for the leader of one shard. During a failover a thousand commands may wait; one of them finds out for all.
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// The table.
#[derive(Debug)]
pub(crate) struct Leaders(Vec<Place>);

#[derive(Debug)]
struct Place {
    known: Mutex<Known>,
    /// When a replica was last asked for want of a leader.
    probed: Mutex<Option<Instant>>,
    /// Counts certain changes of the leader.
    changes: watch::Sender<u64>,
}

/// What is known of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: Term,
    pub(crate) replicas: Vec<NodeId>,
    /// The majority of its replicas is gone.
    pub(crate) unassigned: bool,
}

impl Leaders {
    /// A table that knows nothing.
    pub(crate) fn new(shards: u32) -> Self {
        let nothing = || Place {
            known: Mutex::new(Known {
                leader: None,
                term: Term::ZERO,
                replicas: Vec::new(),
                unassigned: false,
            }),
            probed: Mutex::new(None),
            changes: watch::Sender::new(0),
        };
        Self((0..shards).map(|_| nothing()).collect())
    }

    pub(crate) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.place(shard).and_then(|place| place.lock().leader)
    }

    pub(crate) fn known(&self, shard: ShardId) -> Option<Known> {
        self.place(shard).map(|place| place.lock().clone())
    }

    /// Changes of the shard's leader from now on.
    pub(crate) fn changes(&self, shard: ShardId) -> Option<watch::Receiver<u64>> {
        self.place(shard).map(|place| place.changes.subscribe())
    }

    /// Certain news: who leads at a term. Older terms are ignored.
    pub(crate) fn learn(&self, shard: ShardId, leader: Option<NodeId>, term: Term) {
        let Some(place) = self.place(shard) else { return };
        place.change(|known| {
            if term >= known.term {
                (known.leader, known.term) = (leader, term);
            }
        });
    }

    /// A hint from a node that was taken for the leader and is not: it knows better, or at least that it is not.
    ///
    /// Hints wake nobody: during a failover nodes name the dead leader for a while, and callers that woke each other would ask in a loop.
    pub(crate) fn moved(&self, shard: ShardId, asked: NodeId, leader: Option<NodeId>) {
        let Some(place) = self.place(shard) else { return };
        let mut known = place.lock();
        if known.leader.is_none() || known.leader == Some(asked) {
            known.leader = leader.filter(|&leader| leader != asked);
        }
    }

    /// A node answered for the shard, so it leads, whatever was thought.
    pub(crate) fn answered(&self, shard: ShardId, by: NodeId) {
        let Some(place) = self.place(shard) else { return };
        place.change(|known| known.leader = Some(by));
    }

    /// Whether it is time to ask a replica who leads; if so, the time starts anew.
    pub(crate) fn may_probe(&self, shard: ShardId, now: Instant) -> bool {
        let Some(place) = self.place(shard) else { return false };
        let mut probed = place.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = probed.is_none_or(|probed| now.saturating_duration_since(probed) >= PROBE_EVERY);
        if due {
            *probed = Some(now);
        }
        due
    }

    /// Takes over what a picture of the cluster knows better. Its silence about a leader is no news: pictures are a moment old.
    pub(crate) fn look_at(&self, view: &ClusterView) {
        for shard in &view.shards {
            let Some(place) = self.place(shard.id) else { continue };
            place.change(|known| {
                known.replicas.clone_from(&shard.replicas);
                known.unassigned = shard.state == ShardState::Unassigned;
                let newer = shard.term > known.term;
                if newer || (shard.term == known.term && shard.leader.is_some()) {
                    (known.leader, known.term) = (shard.leader, shard.term);
                }
            });
        }
    }

    fn place(&self, shard: ShardId) -> Option<&Place> {
        self.0.get(shard.0 as usize)
    }
}

impl Place {
    /// Changes what is known, and wakes those who wait when the leader is another one now.
    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        let before = (known.leader, known.term, known.unassigned);
        change(&mut known);
        let changed = before != (known.leader, known.term, known.unassigned);
        drop(known);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Plain assignments: a panic cannot leave them half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ShardView;

    const SHARD: ShardId = ShardId(1);

    fn view(leader: Option<u64>, term: u64, state: ShardState) -> ClusterView {
        let shard = |id| ShardView {
            id: ShardId(id),
            leader: leader.map(NodeId),
            term: Term(term),
            replicas: vec![NodeId(1), NodeId(2)],
            state,
        };
        ClusterView { shards: vec![shard(0), shard(1)], ..ClusterView::default() }
    }

    #[test]
    fn an_older_term_is_no_news() {
        let leaders = Leaders::new(2);
        leaders.learn(SHARD, Some(NodeId(1)), Term(5));
        leaders.learn(SHARD, Some(NodeId(2)), Term(4));
        leaders.look_at(&view(Some(2), 4, ShardState::Serving));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(1)));
        leaders.look_at(&view(None, 5, ShardState::Recovering));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(1)), "silence at the same term is no news");
        leaders.look_at(&view(None, 6, ShardState::Recovering));
        assert_eq!(leaders.leader(SHARD), None);
        leaders.learn(SHARD, Some(NodeId(2)), Term(6));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(2)));
    }

    #[test]
    fn a_hint_counts_only_from_whom_was_taken_for_the_leader() {
        let leaders = Leaders::new(2);
        leaders.learn(SHARD, Some(NodeId(1)), Term(5));
        leaders.moved(SHARD, NodeId(3), Some(NodeId(3)));
        leaders.moved(SHARD, NodeId(2), Some(NodeId(3)));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(1)));
        leaders.moved(SHARD, NodeId(1), Some(NodeId(2)));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(2)));
        leaders.moved(SHARD, NodeId(2), Some(NodeId(2)));
        assert_eq!(leaders.leader(SHARD), None);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_are_spaced() {
        let leaders = Leaders::new(2);
        let now = Instant::now();
        assert!(leaders.may_probe(SHARD, now));
        assert!(!leaders.may_probe(SHARD, now + PROBE_EVERY / 2));
        assert!(leaders.may_probe(ShardId(0), now), "each shard by itself");
        assert!(leaders.may_probe(SHARD, now + PROBE_EVERY));
        assert!(!leaders.may_probe(ShardId(2), now), "a shard that does not exist");
    }

    #[test]
    fn who_answers_leads() {
        let leaders = Leaders::new(2);
        leaders.learn(SHARD, Some(NodeId(1)), Term(5));
        leaders.answered(SHARD, NodeId(2));
        assert_eq!(leaders.leader(SHARD), Some(NodeId(2)));
    }

    #[test]
    fn changes_wake_and_repetitions_and_hints_do_not() {
        let leaders = Leaders::new(2);
        let changes = leaders.changes(SHARD).unwrap();
        leaders.moved(SHARD, NodeId(2), Some(NodeId(9)));
        leaders.learn(SHARD, Some(NodeId(1)), Term(1));
        leaders.learn(SHARD, Some(NodeId(1)), Term(1));
        leaders.look_at(&view(Some(1), 1, ShardState::Serving));
        assert_eq!(*changes.borrow(), 1);
        assert!(leaders.changes(ShardId(2)).is_none(), "a shard that does not exist");
    }
}
