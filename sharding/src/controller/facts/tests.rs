//! Small clusters, one observation at a time.

use super::*;
use crate::cluster_log::NodeFacts;

const DOWN_AFTER: Duration = Duration::from_secs(10);

fn cluster(nodes: u64, expected_nodes: u32) -> ClusterState {
    let at = Timestamp::default();
    let mut state = ClusterState::default();
    let created = Fact::Created {
        cluster: 1,
        name: "c".into(),
        shards: 8,
        replication: 3,
        expected_nodes,
        at,
    };
    state.apply(created).unwrap();
    for number in 1..=nodes {
        let facts = NodeFacts {
            name: format!("n{number}"),
            peer: ([127, 0, 0, 1], 1).into(),
            http: None,
            incarnation: 1,
        };
        let admitted =
            Fact::NodeAdmitted { node: NodeId(number), directory: u128::from(number), facts, at };
        state.apply(admitted).unwrap();
    }
    state
}

fn all(state: &ClusterState, silent: Duration) -> BTreeMap<NodeId, Observed> {
    state.members.keys().map(|node| (*node, Observed { silent, caught_up: true })).collect()
}

/// Carries out facts until there is none; returns how many.
fn settle(state: &mut ClusterState, observed: &BTreeMap<NodeId, Observed>) -> usize {
    for count in 0..100 {
        match next_fact(state, observed, DOWN_AFTER, Timestamp::default()) {
            Some(fact) => state.apply(fact).expect("a proposed fact never contradicts the state"),
            None => return count,
        }
    }
    panic!("the decisions do not come to rest");
}

/// Law G22, R11.
#[test]
fn nothing_is_placed_before_the_expected_nodes_are_up() {
    let mut state = cluster(2, 3);
    let observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    assert!(state.plan.is_none());
    let mut state = cluster(3, 3);
    let observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    assert_eq!(state.plan.as_ref().unwrap().members.len(), 3);
    assert!(state.founders.iter().all(|founders| founders.len() == 3));
}

#[test]
fn with_no_spare_node_a_silent_one_keeps_its_replicas() {
    let mut state = cluster(3, 3);
    let mut observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    let plan = state.plan.clone();
    observed.get_mut(&NodeId(3)).unwrap().silent = DOWN_AFTER;
    settle(&mut state, &observed);
    assert_eq!(state.members[&NodeId(3)].status, MemberStatus::Down);
    assert_eq!(state.plan, plan);
}

#[test]
fn with_a_spare_node_the_replicas_of_a_silent_one_move_and_come_back() {
    let mut state = cluster(4, 4);
    let mut observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    observed.get_mut(&NodeId(2)).unwrap().silent = DOWN_AFTER - Duration::from_millis(1);
    assert_eq!(settle(&mut state, &observed), 0, "not before its time");
    observed.get_mut(&NodeId(2)).unwrap().silent = DOWN_AFTER;
    settle(&mut state, &observed);
    let plan = state.plan.as_ref().unwrap();
    assert!(
        plan.shards
            .iter()
            .all(|shard| shard.replicas.len() == 3 && !shard.replicas.contains(&NodeId(2)))
    );
    observed.get_mut(&NodeId(2)).unwrap().silent = Duration::ZERO;
    settle(&mut state, &observed);
    assert_eq!(state.plan.as_ref().unwrap().members.len(), 4);
}

#[test]
fn a_leaving_node_gets_no_shard_and_fewer_nodes_hold_fewer_replicas() {
    let mut state = cluster(3, 3);
    let observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    state.apply(Fact::NodeLeaving { node: NodeId(1), at: Timestamp::default() }).unwrap();
    settle(&mut state, &observed);
    let plan = state.plan.as_ref().unwrap();
    assert!(
        plan.shards
            .iter()
            .all(|shard| shard.replicas.len() == 2 && !shard.replicas.contains(&NodeId(1)))
    );
}

#[test]
fn a_cluster_of_one_grows_to_three_replicas() {
    let mut state = cluster(1, 1);
    let observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    assert!(state.plan.as_ref().unwrap().shards.iter().all(|shard| shard.replicas.len() == 1));
    let grown = cluster(3, 1);
    state.members = grown.members;
    state.members.get_mut(&NodeId(1)).unwrap().status = MemberStatus::Up;
    let observed = all(&state, Duration::ZERO);
    settle(&mut state, &observed);
    assert!(state.plan.as_ref().unwrap().shards.iter().all(|shard| shard.replicas.len() == 3));
}

#[test]
fn the_cluster_log_has_an_odd_number_of_voters_and_replaces_the_dead_only_by_the_living() {
    let set = |nodes: &[u64]| nodes.iter().map(|node| NodeId(*node)).collect::<BTreeSet<_>>();
    let mut state = cluster(4, 1);
    for member in state.members.values_mut() {
        member.status = MemberStatus::Up;
    }
    assert_eq!(cluster_voters(&state, &set(&[1])), set(&[1, 2, 3]));
    assert_eq!(cluster_voters(&state, &set(&[1, 2, 4])), set(&[1, 2, 4]));
    state.members.get_mut(&NodeId(2)).unwrap().status = MemberStatus::Down;
    assert_eq!(cluster_voters(&state, &set(&[1, 2, 3])), set(&[1, 3, 4]));
    state.members.remove(&NodeId(4));
    assert_eq!(cluster_voters(&state, &set(&[1, 2, 3])), set(&[1, 2, 3]), "nobody to replace it");
    state.members.get_mut(&NodeId(3)).unwrap().status = MemberStatus::Leaving;
    assert_eq!(cluster_voters(&state, &set(&[1, 2, 3])), set(&[1]));
}
