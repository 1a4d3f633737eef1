//! The state against any sequence of facts: whatever comes, its rules hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::ShardPlan;

fn facts(name: u64, incarnation: u64) -> NodeFacts {
    NodeFacts {
        name: format!("node-{name}"),
        peer: ([127, 0, 0, 1], 1).into(),
        http: None,
        incarnation,
    }
}

fn created() -> Fact {
    Fact::Created {
        cluster: 7,
        name: "c".to_owned(),
        shards: 2,
        replication: 3,
        expected_nodes: 1,
        at: Timestamp::default(),
    }
}

fn plan(version: u64, node: NodeId, shards: usize) -> Plan {
    Plan {
        version,
        members: vec![node],
        replication: 3,
        shards: vec![ShardPlan { replicas: vec![node], preferred: node }; shards],
    }
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let at = Timestamp::default();
    let node = || (0_u64..6).prop_map(NodeId);
    prop_oneof![
        1 => Just(created()),
        4 => (node(), 0_u128..6, 0_u64..4)
            .prop_map(move |(node, directory, name)| Fact::NodeAdmitted { node, directory, facts: facts(name, 1), at }),
        2 => (node(), 0_u64..4, 0_u64..4)
            .prop_map(move |(node, name, incarnation)| Fact::NodeReturned { node, facts: facts(name, incarnation), at }),
        2 => node().prop_map(move |node| Fact::NodeUp { node, at }),
        1 => node().prop_map(move |node| Fact::NodeDown { node, at }),
        1 => node().prop_map(move |node| Fact::NodeLeaving { node, at }),
        1 => node().prop_map(move |node| Fact::NodeLeft { node, at }),
        1 => (0_u64..4, node(), 1_usize..4)
            .prop_map(move |(version, node, shards)| Fact::PlanAdopted { plan: plan(version, node, shards), at }),
    ]
}

proptest! {
    /// A refused fact changes nothing; ids are never used twice; names and directories stay unique; founders never change.
    #[test]
    fn the_rules_hold_after_any_facts(facts in proptest::collection::vec(any_fact(), 0..80)) {
        let mut state = ClusterState::default();
        let mut admitted = BTreeSet::new();
        for fact in facts {
            let before = state.clone();
            let taken = state.apply(fact.clone()).is_ok();
            if !taken {
                prop_assert_eq!(&state, &before);
                continue;
            }
            if let Fact::NodeAdmitted { node, .. } = fact {
                prop_assert!(admitted.insert(node), "{} was given twice", node);
            }
            let names: BTreeSet<_> = state.members.values().map(|member| &member.facts.name).collect();
            let directories: BTreeSet<_> = state.members.values().map(|member| member.directory).collect();
            prop_assert_eq!(names.len(), state.members.len());
            prop_assert_eq!(directories.len(), state.members.len());
            if !before.founders.is_empty() {
                prop_assert_eq!(&state.founders, &before.founders);
            }
            if let (Some(old), Some(new)) = (&before.plan, &state.plan) {
                prop_assert!(new.version >= old.version);
            }
        }
    }
}

#[test]
fn a_cluster_is_created_once_and_before_anything_else() {
    let mut state = ClusterState::default();
    let at = Timestamp::default();
    let admit = Fact::NodeAdmitted { node: NodeId(1), directory: 1, facts: facts(1, 1), at };
    assert_eq!(state.apply(admit.clone()), Err(Contradiction));
    assert_eq!(state.apply(created()), Ok(()));
    assert_eq!(state.apply(created()), Err(Contradiction));
    assert_eq!(state.apply(admit), Ok(()));
}

#[test]
fn the_id_of_a_node_that_left_is_not_given_again() {
    let mut state = ClusterState::default();
    let at = Timestamp::default();
    state.apply(created()).unwrap();
    for node in 1..=3 {
        let node = NodeId(node);
        let admit = Fact::NodeAdmitted { node, directory: 9, facts: facts(1, 1), at };
        assert_eq!(state.apply(admit.clone()), Ok(()));
        assert_eq!(state.apply(Fact::NodeLeft { node, at }), Ok(()));
        assert_eq!(state.apply(admit), Err(Contradiction));
    }
}
