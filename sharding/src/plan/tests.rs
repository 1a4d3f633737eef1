//! Golden cases and properties of the placement plan.

use proptest::prelude::*;

use super::*;

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn leads(plan: &Plan) -> HashMap<NodeId, usize> {
    let mut leads = HashMap::new();
    for shard in &plan.shards {
        *leads.entry(shard.preferred).or_default() += 1;
    }
    leads
}

/// Golden: a cluster of three with eight shards. It must never change, because a rolling update plans with both versions.
#[test]
fn three_members_and_eight_shards() {
    let plan = plan(&ids([1, 2, 3]), 8, 3, None);
    let rows: Vec<Vec<u64>> =
        plan.shards.iter().map(|shard| shard.replicas.iter().map(|n| n.0).collect()).collect();
    // The ring gives node 2 five first places; it may lead four of eight (1.25 times 8/3, rounded up), so the last of them goes to node 3.
    assert_eq!(
        rows,
        [[2, 1, 3], [2, 1, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3], [2, 3, 1], [3, 2, 1], [3, 2, 1]]
    );
    assert_eq!(plan.version, 1);
}

/// Golden: the fourth member takes its share, the others keep theirs.
#[test]
fn a_fourth_member_takes_its_share() {
    let three = plan(&ids([1, 2, 3]), 8, 2, None);
    let four = plan(&ids([1, 2, 3, 4]), 8, 2, Some(&three));
    let preferred =
        |plan: &Plan| -> Vec<u64> { plan.shards.iter().map(|s| s.preferred.0).collect() };
    assert_eq!(preferred(&three), [2, 2, 1, 1, 2, 2, 3, 3]);
    // Node 2 may lead three now and gives up shard 5; node 4 must lead one and gets the one that prefers it most.
    assert_eq!(preferred(&four), [2, 2, 1, 1, 4, 3, 3, 3]);
    assert_eq!(four.version, 2);
}

#[test]
fn fewer_members_than_replicas_give_fewer_replicas() {
    let one = plan(&ids([7]), 4, 3, None);
    assert!(one.shards.iter().all(|shard| shard.replicas == ids([7])));
    let two = plan(&ids([7, 8]), 4, 3, Some(&one));
    assert!(two.shards.iter().all(|shard| shard.replicas.len() == 2));
}

#[test]
fn a_thousand_members_are_planned_within_the_bound() {
    let plan = plan(&ids(1..=1000), 4096, 3, None);
    assert!(leads(&plan).values().all(|&leads| leads <= lead_bound(1000, 4096)));
    assert!(leads(&plan).len() == 1000, "everybody leads something");
}

fn a_cluster() -> impl Strategy<Value = (Vec<NodeId>, u32, u32)> {
    (proptest::collection::btree_set(1u64..40, 1..12), 1u32..80, 1u32..5)
        .prop_map(|(members, shards, replication)| (ids(members), shards, replication))
}

/// What every plan keeps, whatever was before.
fn check_plan(plan: &Plan, members: &[NodeId], shards: u32, replication: u32) {
    assert_eq!(plan.shards.len(), shards as usize);
    for shard in &plan.shards {
        let distinct: HashSet<_> = shard.replicas.iter().collect();
        assert_eq!(distinct.len(), shard.replicas.len());
        assert_eq!(shard.replicas.len(), members.len().min(replication as usize));
        assert!(shard.replicas.iter().all(|node| members.contains(node)));
        assert_eq!(shard.replicas[0], shard.preferred);
    }
    let bound = lead_bound(members.len(), shards);
    assert!(leads(plan).values().all(|&leads| leads <= bound));
}

proptest! {
    #[test]
    fn a_plan_is_well_formed((members, shards, replication) in a_cluster()) {
        check_plan(&plan(&members, shards, replication, None), &members, shards, replication);
    }

    /// Law A9: the order of the members does not matter.
    #[test]
    fn order_does_not_matter((members, shards, replication) in a_cluster(), seed: u64) {
        let mut shuffled = members.clone();
        shuffled.sort_by_key(|node| (node.0 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        prop_assert_eq!(plan(&members, shards, replication, None), plan(&shuffled, shards, replication, None));
    }

    /// Law A9: nothing moves when the membership is the same.
    #[test]
    fn nothing_moves_without_a_reason((members, shards, replication) in a_cluster()) {
        let first = plan(&members, shards, replication, None);
        prop_assert_eq!(&plan(&members, shards, replication, Some(&first)), &first);
    }

    /// Law A9: a newcomer takes its share from the others; between the others nothing moves, except a lead that passed the new bound.
    #[test]
    fn joining_moves_the_least((members, shards, replication) in a_cluster()) {
        let newcomer = NodeId(99);
        let before = plan(&members, shards, replication, None);
        let mut more = members.clone();
        more.push(newcomer);
        let after = plan(&more, shards, replication, Some(&before));
        check_plan(&after, &more, shards, replication);
        let share = leads(&after).get(&newcomer).copied().unwrap_or(0);
        prop_assert!(share >= 3 * shards as usize / (4 * more.len()), "the newcomer leads {share}");
        let bound = lead_bound(more.len(), shards);
        let over: usize = leads(&before).values().map(|&leads| leads.saturating_sub(bound)).sum();
        let moved = before.shards.iter().zip(&after.shards)
            .filter(|(old, new)| old.preferred != new.preferred && new.preferred != newcomer)
            .count();
        prop_assert!(moved <= over + shards as usize / more.len() + 1, "{moved} moved, {over} were over the bound");
        for (old, new) in before.shards.iter().zip(&after.shards) {
            let came = new.replicas.iter().filter(|node| !old.replicas.contains(node)).count();
            let lead_moved = old.preferred != new.preferred;
            prop_assert!(came <= 1 + usize::from(lead_moved));
            if came > 0 && !lead_moved {
                prop_assert!(new.replicas.contains(&newcomer), "{old:?} became {new:?}");
            }
        }
    }

    /// Law A9: what a leaver held goes to others; what it did not hold stays.
    #[test]
    fn leaving_moves_the_least((members, shards, replication) in a_cluster(), which: prop::sample::Index) {
        prop_assume!(members.len() > 1);
        let before = plan(&members, shards, replication, None);
        let leaver = members[which.index(members.len())];
        let fewer: Vec<_> = members.iter().copied().filter(|&node| node != leaver).collect();
        let after = plan(&fewer, shards, replication, Some(&before));
        check_plan(&after, &fewer, shards, replication);
        for (old, new) in before.shards.iter().zip(&after.shards) {
            if !old.replicas.contains(&leaver) {
                prop_assert_eq!(old, new);
            } else if old.preferred != leaver {
                prop_assert_eq!(old.preferred, new.preferred);
                prop_assert!(new.replicas.iter().filter(|node| !old.replicas.contains(node)).count() <= 1);
            }
        }
    }

    /// However members come and go, every plan on the way is well formed.
    #[test]
    fn every_history_of_members_is_planned(
        steps in proptest::collection::vec(proptest::collection::btree_set(1u64..12, 1..8), 1..8),
        shards in 1u32..64,
        replication in 1u32..4,
    ) {
        let mut previous: Option<Plan> = None;
        for step in steps {
            let members = ids(step);
            let next = plan(&members, shards, replication, previous.as_ref());
            check_plan(&next, &members, shards, replication);
            previous = Some(next);
        }
    }
}
