//! The rules as tables of cases, and two nodes that give each other signs, with a clock that only the test moves.

use super::*;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn times() -> ConsensusTimes {
    ConsensusTimes::default()
}

/// A leader to whom nobody owes anything.
fn calm() -> Calm {
    let other = Other { matched: Some(9), silent: ms(70), connected: true };
    Calm {
        settled: true,
        retiring: false,
        last: Some(9),
        committed: Some(9),
        applied: Some(9),
        others: vec![other, other],
    }
}

#[test]
fn a_group_rests_when_everybody_is_there_and_has_everything() {
    let lease = times().election_max;
    assert!(calm().may_rest(lease));
    assert!(Calm { others: Vec::new(), ..calm() }.may_rest(lease), "nobody else is needed");
    let with = |change: fn(&mut Other)| {
        let mut seen = calm();
        change(&mut seen.others[1]);
        seen
    };
    for (why, seen) in [
        ("its shard is not served", Calm { settled: false, ..calm() }),
        ("its node is about to stop", Calm { retiring: true, ..calm() }),
        ("there is nothing in its log", Calm { last: None, ..calm() }),
        ("an entry is not committed", Calm { committed: Some(8), ..calm() }),
        ("an entry is not applied", Calm { applied: Some(8), ..calm() }),
        ("somebody lacks an entry", with(|other| other.matched = Some(8))),
        ("nobody knows what somebody has", with(|other| other.matched = None)),
        ("somebody is silent", with(|other| other.silent = times().election_max)),
        ("somebody is not connected", with(|other| other.connected = false)),
    ] {
        assert!(!seen.may_rest(lease), "{why}");
    }
}

#[test]
fn equal_sets_have_equal_digests_in_any_order_and_others_have_not() {
    let digest = |groups: &[(u32, u64)]| {
        let mut digest = Digest::default();
        for (shard, term) in groups {
            digest.add(ShardId(*shard), *term);
        }
        digest
    };
    assert_eq!(digest(&[(1, 5), (2, 6)]), digest(&[(2, 6), (1, 5)]));
    for other in [&[(1, 6), (2, 5)][..], &[(1, 5)], &[(1, 5), (3, 6)], &[(5, 1), (6, 2)], &[]] {
        assert_ne!(digest(&[(1, 5), (2, 6)]), digest(other), "{other:?}");
    }
}

/// A node and what rests with another one.
struct Node {
    company: Company,
    shared: BTreeMap<NodeId, Shared>,
    now: Instant,
    /// What was last said of a node for which something woke.
    dead: bool,
}

/// What rests when this node leads shard 3 and the other one shard 4.
fn shared() -> Shared {
    let mut shared = Shared::default();
    shared.leads.add(ShardId(3), 7);
    shared.follows.add(ShardId(4), 8);
    shared
}

/// The same, as the other one sees it.
fn said() -> Shared {
    Shared { leads: shared().follows, follows: shared().leads }
}

impl Node {
    fn among(shared: BTreeMap<NodeId, Shared>) -> Self {
        Self { company: Company::new(times()), shared, now: Instant::now(), dead: false }
    }

    /// Shards rest, and the other one has given signs for a while.
    fn resting() -> Self {
        let shared = [(OTHER, shared())].into();
        let mut node = Self::among(shared);
        for _ in 0..20 {
            assert_eq!(node.hears(said()), []);
        }
        node
    }

    /// A sign comes, then the node looks.
    fn hears(&mut self, said: Shared) -> Vec<NodeId> {
        self.company.hear(OTHER, 1, said);
        self.looks()
    }

    fn looks(&mut self) -> Vec<NodeId> {
        self.looks_after(times().sign())
    }

    fn looks_after(&mut self, passed: Duration) -> Vec<NodeId> {
        self.now += passed;
        let woken = self.company.look(&self.shared, self.now);
        for woken in &woken {
            self.dead = woken.dead;
        }
        woken.into_iter().map(|woken| woken.node).collect()
    }

    /// After how many looks something wakes, when the same happens before each.
    fn wakes_after(&mut self, mut step: impl FnMut(&mut Self) -> Vec<NodeId>) -> Option<usize> {
        (1..=50).find(|_| step(self) == [OTHER])
    }
}

#[test]
fn who_is_silent_for_as_long_as_a_lost_leader_wakes_what_rests_with_it() {
    let mut node = Node::resting();
    let looks = node.wakes_after(Node::looks).expect("silence wakes");
    let silent = times().sign() * u32::try_from(looks).unwrap();
    assert!((times().patience()..times().patience() + times().sign()).contains(&silent));
    assert!(node.dead, "somebody else stands for what it led");
    assert_eq!(node.looks(), [], "once: what rests again later begins anew");
}

#[test]
fn four_lost_signs_wake_nobody() {
    let mut node = Node::resting();
    for _ in 0..10 {
        for _ in 0..4 {
            assert_eq!(node.looks(), []);
        }
        assert_eq!(node.hears(said()), []);
    }
}

#[test]
fn who_never_gave_a_sign_is_waited_for_as_long() {
    let shared = [(OTHER, shared())].into();
    let mut node = Node::among(shared);
    assert!(node.company.lives(OTHER), "it has just agreed");
    assert!(node.wakes_after(Node::looks).is_some_and(|looks| looks >= 5));
}

#[test]
fn a_process_that_slept_has_not_been_left() {
    let mut node = Node::resting();
    assert_eq!(node.looks_after(Duration::from_secs(60)), []);
    assert!(node.company.lives(OTHER));
    assert_eq!(node.hears(said()), []);
}

#[test]
fn another_start_of_a_node_wakes_what_rested_with_the_one_before() {
    let mut node = Node::resting();
    node.company.hear(OTHER, 2, said());
    assert_eq!(node.looks(), [OTHER]);
    let mut node = Node::resting();
    node.company.connected(OTHER, 1);
    assert_eq!(node.looks(), []);
    node.company.connected(OTHER, 2);
    assert!(!node.company.lives(OTHER));
    assert_eq!(node.looks(), [OTHER]);
}

#[test]
fn a_sure_death_is_believed_at_once_whatever_was_still_on_its_way() {
    let mut node = Node::resting();
    assert!(node.company.lives(OTHER));
    node.company.died(OTHER);
    node.company.hear(OTHER, 1, said());
    assert!(!node.company.lives(OTHER), "others may be elected in its place");
    assert_eq!(node.looks(), [OTHER]);
    assert!(node.dead);
}

#[test]
fn a_death_right_behind_the_first_agreement_is_believed_too() {
    let mut node = Node::among([(OTHER, shared())].into());
    node.company.died(OTHER);
    assert!(!node.company.lives(OTHER), "nothing is known of it but that it ended");
    assert_eq!(node.looks(), [OTHER]);
    assert!(node.dead);
}

#[test]
fn who_names_other_groups_for_long_wakes_what_rests_with_it() {
    let elsewhere = Shared { leads: Digest::default(), ..said() };
    let mut node = Node::resting();
    let looks = node.wakes_after(|node| node.hears(elsewhere)).expect("it wakes");
    assert!(times().sign() * u32::try_from(looks).unwrap() >= times().patience());
    assert!(!node.dead, "it lives, and nobody need be elected");
    // A moment of another opinion is what a change looks like from the other side.
    let mut node = Node::resting();
    for _ in 0..10 {
        for _ in 0..4 {
            assert_eq!(node.hears(elsewhere), []);
        }
        assert_eq!(node.hears(said()), []);
    }
}

#[test]
fn whoever_changes_something_gives_the_other_time_to_say_the_same() {
    let mut node = Node::resting();
    for term in 0..50 {
        node.shared.get_mut(&OTHER).unwrap().leads.add(ShardId(9), term);
        assert_eq!(node.hears(said()), []);
    }
    assert!(node.wakes_after(|node| node.hears(said())).is_some());
}

#[test]
fn with_whom_nothing_rests_any_more_nobody_keeps_company() {
    let mut node = Node::resting();
    node.shared.clear();
    assert_eq!(node.looks(), []);
    assert!(node.company.nodes.is_empty());
    node.company.hear(OTHER, 1, said());
    assert!(node.company.nodes.is_empty());
    assert!(node.company.lives(ME));
}
