//! The lease of a leader: what it may say by it without asking anybody, and who may let go of it when the leader has ended.

use std::time::Duration;

use holm_core::{NodeId, ShardId};

use super::nodes::Nodes;
use crate::raft::consensus::Consensus as _;
use crate::raft::{ConsensusTimes, VoteRequest, VoteResponse, rpc};
use crate::transport::Lane;
use crate::wire::raft_body;

const SHARD: ShardId = ShardId(0);

/// Long enough for an election, and nothing against the lease.
const A_WHILE: Duration = Duration::from_millis(400);

/// Three nodes whose leases outlast every test.
struct Leased {
    nodes: Nodes,
    leader: usize,
    term: u64,
}

fn leased() -> Leased {
    let times = ConsensusTimes { election_max: Duration::from_secs(600), ..Default::default() };
    let nodes = Nodes::with(3, times);
    let (leader, term) = nodes.leader_above(SHARD, 0);
    let group = nodes.group(leader, SHARD);
    nodes.block_on(group.settle(term)).unwrap();
    nodes.followed(leader, SHARD);
    Leased { nodes, leader, term }
}

impl Leased {
    fn id(&self) -> NodeId {
        NodeId(self.nodes.group(self.leader, SHARD).metrics().id)
    }

    fn others(&self) -> [usize; 2] {
        [(self.leader + 1) % 3, (self.leader + 2) % 3]
    }

    /// Whether a node is elected when it stands.
    fn is_elected(&self, place: usize) -> bool {
        let group = self.nodes.group(place, SHARD);
        self.nodes.block_on(async {
            for _ in 0..4 {
                group.stand().await;
                tokio::time::sleep(A_WHILE / 4).await;
            }
        });
        self.nodes.find_leader(SHARD, self.term).is_some_and(|(leader, _)| leader == place)
    }
}

/// Promise G5: as long as the leader may live, nobody else is elected within its lease.
#[test]
fn within_a_lease_nobody_is_elected() {
    let shard = leased();
    shard.nodes.halt(shard.leader, SHARD);
    assert!(!shard.is_elected(shard.others()[0]));
}

#[test]
fn when_the_others_let_go_of_the_lease_one_of_them_is_elected_at_once() {
    let shard = leased();
    let (dead, [first, second]) = (shard.id(), shard.others());
    shard.nodes.halt(shard.leader, SHARD);
    for place in [first, second] {
        let group = shard.nodes.group(place, SHARD);
        assert!(shard.nodes.block_on(group.release(dead, shard.term)));
    }
    assert!(shard.is_elected(first));
}

/// Promise G5: a replica that knows nothing of the end keeps its promise, whatever another one knows.
#[test]
fn one_that_lets_go_is_not_elected_by_one_that_does_not() {
    let shard = leased();
    let (dead, [first, _]) = (shard.id(), shard.others());
    shard.nodes.halt(shard.leader, SHARD);
    assert!(shard.nodes.block_on(shard.nodes.group(first, SHARD).release(dead, shard.term)));
    assert!(!shard.is_elected(first));
}

/// Promise G5: the end of a process is told late, perhaps; who leads by then, at another term, keeps its lease.
#[test]
fn only_the_lease_of_the_term_that_was_led_is_let_go() {
    let shard = leased();
    let (leader, [first, second]) = (shard.id(), shard.others());
    for place in [first, second] {
        let group = shard.nodes.group(place, SHARD);
        for (who, term) in
            [(leader, shard.term - 1), (leader, shard.term + 1), (NodeId(99), shard.term)]
        {
            assert!(!shard.nodes.block_on(group.release(who, term)), "{who} at {term}");
        }
    }
    shard.nodes.halt(shard.leader, SHARD);
    assert!(!shard.is_elected(first));
}

/// Promise G5: a follower that is killed and soon back has promised what it had promised before.
#[test]
fn a_replica_that_starts_again_keeps_its_promise() {
    let shard = leased();
    let (leader, [again, other]) = (shard.id(), shard.others());
    shard.nodes.halt(shard.leader, SHARD);
    shard.nodes.halt(again, SHARD);
    shard.nodes.resume(again, SHARD);
    let let_go = |place| {
        let group = shard.nodes.group(place, SHARD);
        assert!(shard.nodes.block_on(group.release(leader, shard.term)));
    };
    // Whose own lease is over.
    let_go(other);
    assert!(!shard.is_elected(other), "elected by the one that started again");
    assert!(!shard.is_elected(again));
    let_go(again);
    assert!(shard.is_elected(other));
}

/// A leader that has been told once that it leads, with leases of a usual length.
fn confirmed() -> Leased {
    let nodes = Nodes::of(3);
    let (leader, term) = nodes.leader_above(SHARD, 0);
    let group = nodes.group(leader, SHARD);
    nodes.block_on(group.settle(term)).unwrap();
    assert!(!group.confirm_at_once(term), "nobody has said so");
    nodes.block_on(group.confirm(term)).unwrap();
    Leased { nodes, leader, term }
}

#[test]
fn within_its_lease_a_leader_confirms_at_once() {
    let shard = confirmed();
    let group = shard.nodes.group(shard.leader, SHARD);
    assert!(group.confirm_at_once(shard.term));
    assert!(!group.confirm_at_once(shard.term - 1) && !group.confirm_at_once(shard.term + 1));
    // Each heartbeat that is answered begins it anew.
    let lease = ConsensusTimes::default().election_max;
    shard.nodes.block_on(async { tokio::time::sleep(2 * lease).await });
    shard.nodes.block_on(group.confirm(shard.term)).unwrap();
    assert!(group.confirm_at_once(shard.term));
    let [follower, _] = shard.others();
    assert!(!shard.nodes.group(follower, SHARD).confirm_at_once(shard.term));
}

/// Promise G5: as soon as the others may have elected somebody else nothing is said without them.
#[test]
fn a_leader_that_is_cut_off_confirms_nothing_at_once_when_its_lease_is_over() {
    let shard = confirmed();
    let group = shard.nodes.group(shard.leader, SHARD);
    shard.nodes.cut_off(shard.leader);
    let lease = ConsensusTimes::default().election_max;
    shard.nodes.block_on(async { tokio::time::sleep(lease).await });
    assert!(!group.confirm_at_once(shard.term));
}

/// Promise G5: a leader that was asked for its vote may have given it; openraft must say again that it leads.
#[test]
fn whoever_was_asked_for_its_vote_confirms_nothing_at_once() {
    let shard = confirmed();
    let group = shard.nodes.group(shard.leader, SHARD);
    let request = VoteRequest::new(group.metrics().vote, None);
    let body = raft_body(SHARD.0, rpc::VOTE, |out| rpc::write_plain(&request, out)).unwrap();
    let asked = shard.nodes.peers(shard.others()[0]).request(
        shard.id(),
        Lane::Control,
        body,
        Duration::from_secs(10),
    );
    let answer = shard.nodes.block_on(asked).unwrap();
    let answer: VoteResponse = rpc::read_answer(&answer).unwrap();
    assert!(!answer.vote_granted);
    assert!(!group.confirm_at_once(shard.term));
    shard.nodes.block_on(group.confirm(shard.term)).unwrap();
    assert!(group.confirm_at_once(shard.term));
}

/// Promise G5: whoever takes a leadership over is elected within the lease of the one who gives it away.
#[test]
fn who_gives_its_leadership_away_confirms_nothing_at_once() {
    let shard = confirmed();
    let group = shard.nodes.group(shard.leader, SHARD);
    let to = NodeId(shard.nodes.group(shard.others()[0], SHARD).metrics().id);
    // It stays the leader, as far as it knows: nobody hears of it.
    shard.nodes.cut_off(shard.leader);
    assert!(shard.nodes.block_on(group.give_away(to)));
    assert!(!group.confirm_at_once(shard.term));
}
