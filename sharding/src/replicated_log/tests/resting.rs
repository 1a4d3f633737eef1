//! Groups that were put to rest by hand: what is asked of their leaders wakes them, and is neither refused nor answered under a lease that is over.

use std::time::Duration;

use holm_core::{NodeId, ShardId, Term};
use holm_persistence::ShardLog as _;
use holm_persistence::conformance::{Writer, address, wait};

use super::nodes::Nodes;
use crate::raft::rest::Agreement;
use crate::raft::rpc::RestRequest;
use crate::raft::{ConsensusTimes, Metrics, elapsed, entry};

const SHARD: ShardId = ShardId(0);

/// Pause between two looks at something that tells of no change.
const LOOK: Duration = Duration::from_millis(2);

/// A shard of three nodes with one batch, opened by its leader.
struct Opened {
    nodes: Nodes,
    leader: usize,
    term: u64,
    writer: Writer,
}

impl Opened {
    fn new() -> Self {
        let nodes = Nodes::of(3);
        let leader = nodes.settled_leader(SHARD);
        let term = nodes.group(leader, SHARD).metrics().current_term;
        wait(nodes.log(leader).open(SHARD, Term(term))).unwrap();
        let mut opened = Self { nodes, leader, term, writer: Writer::new(SHARD, Term(term)) };
        assert!(opened.writes());
        opened.nodes.followed(leader, SHARD);
        opened
    }

    /// Writes a batch; whether it became durable.
    fn writes(&mut self) -> bool {
        let batch = self.writer.batch(&[(&address("account/alice"), 1)]);
        wait(self.nodes.log(self.leader).append(batch)) == Ok(())
    }

    fn metrics(&self) -> Metrics {
        self.nodes.group(self.leader, SHARD).metrics()
    }

    fn request(&self) -> RestRequest {
        let metrics = self.metrics();
        let last = metrics.last_applied.expect("a batch was followed");
        RestRequest { leader: metrics.id, term: self.term, last }
    }

    fn agrees_to(&self, request: RestRequest) -> bool {
        let group = self.nodes.group(self.leader, SHARD);
        let others = self.metrics().membership_config.voter_ids().map(NodeId).collect::<Vec<_>>();
        let others: Vec<_> = others.into_iter().filter(|it| it.0 != request.leader).collect();
        let peers = self.nodes.peers(self.leader);
        self.nodes.block_on(group.ask_to_rest(peers, &request, &others))
    }

    /// Puts the group to rest on all nodes, and waits until no lease holds any more.
    fn at_rest() -> Self {
        let opened = Self::new();
        // A heartbeat that is still on its way wakes who agreed, on a loaded machine a while later too, and is then over.
        for _ in 0..10 {
            opened.put_to_rest();
            opened.nodes.block_on(opened.lease_over_or_woken());
            if opened.all_rest() {
                return opened;
            }
        }
        panic!("something wakes what rests again and again");
    }

    fn put_to_rest(&self) {
        let group = self.nodes.group(self.leader, SHARD);
        let RestRequest { leader, term, .. } = self.request();
        while !self.all_rest() {
            let question = group.rest().begin_asking(Duration::ZERO);
            let agreed = self.agrees_to(self.request());
            let completed = question.is_some_and(|question| {
                agreed && group.rest().complete_asking(question, Agreement { leader, term })
            });
            if !completed {
                group.rest().wake();
            }
        }
    }

    async fn lease_over_or_woken(&self) {
        let lease = ConsensusTimes::default().election_max;
        let holds = || self.metrics().last_quorum_acked.is_none_or(|at| elapsed(&at) < lease);
        while self.all_rest() && holds() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn all_rest(&self) -> bool {
        let groups = (0..3).map(|place| self.nodes.group(place, SHARD));
        groups.into_iter().all(|group| group.rests().is_some())
    }

    /// Waits until nothing rests any more.
    fn until_all_are_awake(&self) {
        let awake = |place| self.nodes.group(place, SHARD).rest().is_awake();
        self.nodes.block_on(async {
            while !(0..3).all(awake) {
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// That the leadership is still the same.
    fn is_led_as_before(&self) {
        assert_eq!(self.nodes.find_leader(SHARD, 0), Some((self.leader, self.term)));
    }
}

/// Promise G1: the first write behind a rest is taken, though the lease is long over.
#[test]
fn a_write_to_a_group_at_rest_becomes_durable() {
    let mut shard = Opened::at_rest();
    for _ in 0..2 {
        assert!(shard.writes());
    }
    shard.until_all_are_awake();
    shard.is_led_as_before();
}

/// Promise G5: a read asks the majority, because no lease holds.
#[test]
fn a_read_from_a_group_at_rest_asks_the_majority() {
    let shard = Opened::at_rest();
    let before = shard.metrics().last_quorum_acked;
    assert_eq!(wait(shard.nodes.log(shard.leader).confirm(SHARD, Term(shard.term))), Ok(()));
    assert!(shard.metrics().last_quorum_acked > before, "it was answered under the old lease");
    shard.until_all_are_awake();
    shard.is_led_as_before();
}

/// Promise G5: a leader that was replaced while its group rested here answers no read.
#[test]
fn a_read_from_a_group_that_rests_here_alone_is_refused() {
    let shard = Opened::at_rest();
    shard.nodes.cut_off(shard.leader);
    let next = (shard.leader + 1) % 3;
    shard.nodes.block_on(async {
        while shard.nodes.find_leader(SHARD, shard.term).is_none() {
            assert!(shard.nodes.group(next, SHARD).stand().await);
            tokio::time::sleep(LOOK).await;
        }
    });
    assert!(shard.nodes.group(shard.leader, SHARD).rests().is_some(), "it knows nothing of it");
    let read = wait(shard.nodes.log(shard.leader).confirm(SHARD, Term(shard.term)));
    assert!(read.is_err(), "a read of the past");
}

/// A shard that is opened again at its term waits for what is under way, which needs the majority too.
#[test]
fn a_shard_at_rest_is_opened_again() {
    let shard = Opened::at_rest();
    let log = shard.nodes.log(shard.leader);
    log.replica(SHARD).unwrap().close();
    assert!(wait(log.open(SHARD, Term(shard.term))).is_ok());
    shard.is_led_as_before();
}

/// Openraft refuses a change of members while the lease is over, so it is waited for.
#[test]
fn a_group_that_is_roused_takes_a_change_of_members() {
    let shard = Opened::at_rest();
    let group = shard.nodes.group(shard.leader, SHARD);
    shard.nodes.block_on(async {
        group.rouse().await;
        let voters: std::collections::BTreeSet<u64> =
            group.metrics().membership_config.voter_ids().collect();
        group.raft().change_membership(voters, false).await.expect("it is taken");
    });
}

/// Whoever lacks something, or knows of another leader, goes on hearing heartbeats.
#[test]
fn a_follower_agrees_only_to_what_it_has_itself() {
    let shard = Opened::new();
    let request = shard.request();
    let (term, index) = (entry::term_of(&request.last), request.last.index());
    let others = [
        RestRequest { last: entry::log_id(term, index + 1), ..request },
        RestRequest { last: entry::log_id(term, index - 1), ..request },
        RestRequest { last: entry::log_id(term + 1, index), ..request },
        RestRequest { term: request.term + 1, ..request },
        RestRequest { leader: request.leader + 1, ..request },
    ];
    for other in others {
        assert!(!shard.agrees_to(other), "{other:?}");
        assert!((0..3).all(|place| shard.nodes.group(place, SHARD).rest().is_awake()));
    }
    assert!(shard.agrees_to(request));
    // Its leader does not rest, and beats.
    shard.until_all_are_awake();
}
