//! A group that is driven step by step by the decisions, with nodes that catch up, die and come back.

use proptest::prelude::*;

use super::*;

const ALIVE: (u64, Duration) = (0, Duration::ZERO);

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn plan(ids: &[u64]) -> ShardPlan {
    ShardPlan { replicas: ids.iter().map(|id| NodeId(*id)).collect(), preferred: NodeId(ids[0]) }
}

fn group(me: u64, voters: &[u64]) -> GroupSeen {
    let others = voters.iter().filter(|id| **id != me).map(|id| (NodeId(*id), ALIVE)).collect();
    GroupSeen {
        me: NodeId(me),
        voters: nodes(voters),
        settled: true,
        others,
        ..GroupSeen::default()
    }
}

/// Carries a step out as a working group would.
fn carry_out(seen: &mut GroupSeen, step: &Step, alive: &BTreeSet<NodeId>) {
    match step {
        Step::AddLearner(node) => {
            seen.learners.insert(*node);
        }
        Step::SetVoters(voters) => {
            seen.voters.clone_from(voters);
            seen.learners.clear();
            seen.joint = false;
        }
        Step::Transfer(node) => seen.me = *node,
    }
    let me = seen.me;
    let silence =
        |node: &NodeId| if alive.contains(node) { ALIVE } else { (1_000, Duration::from_secs(60)) };
    let all = seen.voters.union(&seen.learners).filter(|node| **node != me);
    seen.others = all.map(|node| (*node, silence(node))).collect();
}

#[test]
fn a_replica_moves_by_learning_catching_up_and_one_change() {
    let mut seen = group(1, &[1, 2, 3]);
    let plan = plan(&[1, 2, 4]);
    assert_eq!(next_step(&seen, &plan, false), Some(Step::AddLearner(NodeId(4))));
    seen.learners.insert(NodeId(4));
    seen.others.insert(NodeId(4), (10_000, Duration::ZERO));
    assert_eq!(next_step(&seen, &plan, false), None, "it lacks entries");
    seen.others.insert(NodeId(4), (3, Duration::from_secs(5)));
    assert_eq!(next_step(&seen, &plan, false), None, "a dead learner is never promoted");
    seen.others.insert(NodeId(4), (3, Duration::ZERO));
    assert_eq!(next_step(&seen, &plan, false), Some(Step::SetVoters(nodes(&[1, 2, 4]))));
}

#[test]
fn a_leader_that_has_to_go_hands_over_before_it_is_let_go() {
    let mut seen = group(1, &[1, 2, 3]);
    let plan = plan(&[2, 3]);
    assert_eq!(next_step(&seen, &plan, true), Some(Step::Transfer(NodeId(2))));
    seen.others.insert(NodeId(2), (0, Duration::from_secs(5)));
    assert_eq!(
        next_step(&seen, &plan, true),
        Some(Step::Transfer(NodeId(3))),
        "the preferred one is silent"
    );
    let seen = group(3, &[1, 2, 3]);
    assert_eq!(next_step(&seen, &plan, true), Some(Step::SetVoters(nodes(&[2, 3]))));
}

#[test]
fn leaderships_move_to_the_preferred_node_only_when_nothing_else_is_going_on() {
    let seen = group(2, &[1, 2, 3]);
    assert_eq!(next_step(&seen, &plan(&[1, 2, 3]), true), None);
    assert_eq!(next_step(&seen, &plan(&[1, 2, 3]), false), Some(Step::Transfer(NodeId(1))));
    let unsettled = GroupSeen { settled: false, ..seen };
    assert_eq!(next_step(&unsettled, &plan(&[1, 2, 3]), false), None);
}

#[test]
fn a_change_that_stopped_half_way_is_completed() {
    let seen = GroupSeen { joint: true, ..group(1, &[1, 2, 3, 4]) };
    assert_eq!(next_step(&seen, &plan(&[1, 2, 4]), true), Some(Step::SetVoters(nodes(&[1, 2, 4]))));
}

proptest! {
    /// With the planned nodes alive, the steps end, and they end at the plan; no step ever makes a silent newcomer a voter.
    #[test]
    fn the_steps_lead_to_the_plan(
        voters in proptest::collection::btree_set(1_u64..7, 1..4),
        target in proptest::collection::btree_set(1_u64..7, 1..4),
        leader in any::<prop::sample::Index>(),
    ) {
        let target: Vec<u64> = target.into_iter().collect();
        let voters: Vec<u64> = voters.into_iter().collect();
        let alive = nodes(&[1, 2, 3, 4, 5, 6]);
        let plan = plan(&target);
        let mut seen = group(*leader.get(&voters), &voters);
        let mut steps = 0;
        while let Some(step) = next_step(&seen, &plan, false) {
            if let Step::SetVoters(voters) = &step {
                prop_assert!(voters.iter().all(|node| seen.voters.contains(node) || is_ready(&seen, *node)));
                prop_assert!(voters.contains(&seen.me));
            }
            carry_out(&mut seen, &step, &alive);
            steps += 1;
            prop_assert!(steps < 20, "no rest");
        }
        prop_assert_eq!(seen.me, plan.preferred);
        prop_assert_eq!(seen.voters, nodes(&target));
        prop_assert!(seen.learners.is_empty());
    }
}
