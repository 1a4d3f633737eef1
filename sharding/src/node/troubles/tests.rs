//! Which pictures make which facts, and who tells them.

use super::*;
use crate::view::{MemberView, ShardView};
use holm_core::Term;

fn view(members: &[(u64, MemberState)], leaders: &[Option<u64>]) -> ClusterView {
    let member = |(id, state): &(u64, MemberState)| MemberView {
        id: NodeId(*id),
        name: format!("n{id}"),
        peer: ([127, 0, 0, 1], 1).into(),
        http: None,
        state: *state,
        incarnation: 1,
        since: Timestamp::EPOCH,
    };
    let shard = |(number, leader): (usize, &Option<u64>)| ShardView {
        id: ShardId(u32::try_from(number).unwrap()),
        leader: leader.map(NodeId),
        term: Term(1),
        replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
        state: if leader.is_some() { ShardState::Serving } else { ShardState::Unassigned },
    };
    ClusterView {
        members: members.iter().map(member).collect(),
        shards: leaders.iter().enumerate().map(shard).collect(),
        ..ClusterView::default()
    }
}

use MemberState::{Down, Suspect, Up};

const ALL_UP: [(u64, MemberState); 3] = [(1, Up), (2, Up), (3, Up)];
const ME: NodeId = NodeId(1);

fn at(second: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(second))
}

fn kinds(changes: &[Change]) -> Vec<(FailureKind, String)> {
    let troubles = changes.iter().filter_map(|change| change.trouble.as_ref());
    troubles.map(|trouble| (trouble.kind, trouble.subject.to_string())).collect()
}

fn names(changes: &[Change]) -> Vec<&'static str> {
    changes.iter().map(|change| holm_runtime::Event::name(&change.event)).collect()
}

/// Promise G8: what happens to a member, to a shard and to the leadership is one fact each, in order.
#[test]
fn each_change_is_one_fact() {
    let mut troubles = Troubles::default();
    let mut look = |view: &ClusterView| names(&troubles.look(view, ME, Some(ME), at(1)));
    assert_eq!(look(&view(&[(1, Up)], &[Some(1)])), ["LeaderChanged"], "who is there did not come");
    let joining = MemberState::Joining;
    assert_eq!(look(&view(&[(1, Up), (2, joining)], &[Some(1)])), Vec::<&str>::new());
    assert_eq!(look(&view(&[(1, Up), (2, Up), (3, Up)], &[Some(1)])), ["NodeJoined", "NodeJoined"]);
    let silent = view(&[(1, Up), (2, Suspect), (3, Up)], &[None]);
    assert_eq!(look(&silent), ["NodeSuspected", "QuorumLost"]);
    let down = view(&[(1, Up), (2, Down), (3, Up)], &[Some(3)]);
    assert_eq!(look(&down), ["NodeDowned", "ShardMoved", "QuorumRegained"]);
    let leaving = MemberState::Leaving;
    let back = view(&[(1, Up), (2, Up), (3, leaving)], &[Some(3)]);
    assert_eq!(look(&back), ["NodeReturned", "NodeLeaving"]);
    assert_eq!(look(&view(&[(1, Up), (2, Up)], &[Some(1)])), ["NodeLeft", "ShardMoved"]);
}

/// Promise G7: a member that falls silent, is given up and comes back, and the shard that moves meanwhile, are told once each.
#[test]
fn each_change_is_told_once() {
    use FailureKind::{NodeBack, NodeDown, NodeSuspected, ShardMoved, ShardWithoutQuorum};
    let mut troubles = Troubles::default();
    let mut look = |view: &ClusterView| kinds(&troubles.look(view, ME, Some(ME), at(1)));
    assert_eq!(look(&view(&ALL_UP, &[Some(2), Some(1)])), [], "a beginning is no trouble");
    let suspect = view(&[(1, Up), (2, Suspect), (3, Up)], &[None, Some(1)]);
    let node = "node 2".to_owned();
    let told = [(NodeSuspected, node.clone()), (ShardWithoutQuorum, "shard 0".to_owned())];
    assert_eq!(look(&suspect), told);
    assert_eq!(look(&suspect), []);
    let down = view(&[(1, Up), (2, Down), (3, Up)], &[Some(3), Some(1)]);
    assert_eq!(look(&down), [(NodeDown, node.clone()), (ShardMoved, "shard 0".to_owned())]);
    assert_eq!(look(&view(&ALL_UP, &[Some(3), Some(1)])), [(NodeBack, node)]);
}

/// Promise G7: one node tells; what the node that should have told could not, because it is the one that fell silent, the next one tells.
#[test]
fn the_next_leader_tells_what_the_silent_one_could_not() {
    let mut troubles = Troubles::default();
    let leads = Some(NodeId(2));
    troubles.look(&view(&ALL_UP, &[Some(2)]), ME, leads, at(1));
    let suspect = view(&[(1, Up), (2, Suspect), (3, Up)], &[Some(3)]);
    assert_eq!(kinds(&troubles.look(&suspect, ME, leads, at(2))), []);
    let told = kinds(&troubles.look(&suspect, ME, Some(ME), at(3)));
    assert_eq!(told.len(), 2, "{told:?}");
    let other = view(&[(1, Up), (2, Up), (3, Suspect)], &[Some(3)]);
    let mut troubles = Troubles::default();
    troubles.look(&view(&ALL_UP, &[Some(3)]), ME, leads, at(1));
    troubles.look(&other, ME, leads, at(2));
    assert_eq!(kinds(&troubles.look(&other, ME, Some(ME), at(3))), [], "the one before told it");
}

/// Promise G9: what nobody told for long is forgotten.
#[test]
fn what_is_remembered_is_bounded_in_time() {
    let mut troubles = Troubles::default();
    let leads = Some(NodeId(2));
    troubles.look(&view(&ALL_UP, &[Some(2)]), ME, leads, at(1));
    let suspect = view(&[(1, Up), (2, Suspect), (3, Up)], &[Some(3)]);
    troubles.look(&suspect, ME, leads, at(2));
    assert_eq!(names(&troubles.look(&suspect, ME, Some(ME), at(30))), ["LeaderChanged"]);
}

/// Promise G7: a majority that is lost for long is told when it is back, because nobody could tell it meanwhile.
#[test]
fn what_nobody_could_tell_is_told_when_somebody_leads() {
    let mut troubles = Troubles::default();
    troubles.look(&view(&ALL_UP, &[Some(2)]), ME, Some(NodeId(2)), at(1));
    let lonely = view(&[(1, Up), (2, Suspect), (3, Suspect)], &[None]);
    for second in 2..600 {
        assert_eq!(kinds(&troubles.look(&lonely, ME, None, at(second))), []);
    }
    let told = kinds(&troubles.look(&lonely, ME, Some(ME), at(600)));
    assert!(told.contains(&(FailureKind::ShardWithoutQuorum, "shard 0".to_owned())), "{told:?}");
}

/// Promise G7: a leader that died and is back before there is another one told nothing: it remembers nothing of its life before.
#[test]
fn the_next_leader_tells_what_one_that_started_again_forgot() {
    let mut troubles = Troubles::default();
    let leads = Some(NodeId(2));
    troubles.look(&view(&ALL_UP, &[Some(2)]), ME, leads, at(1));
    troubles.look(&view(&[(1, Up), (2, Suspect), (3, Up)], &[None]), ME, leads, at(2));
    let mut back = view(&ALL_UP, &[Some(3)]);
    back.members[1].incarnation += 1;
    let told = kinds(&troubles.look(&back, ME, Some(ME), at(3)));
    assert!(told.contains(&(FailureKind::ShardWithoutQuorum, "shard 0".to_owned())), "{told:?}");
}

/// Promise G7: a leader that was started since the majority was lost knows nothing of it, so one of those who saw it tells it, once; what happens from now on
/// tells the leader again.
#[test]
fn what_the_leader_was_not_there_for_is_told_in_its_place() {
    let quorum = || (FailureKind::ShardWithoutQuorum, "shard 0".to_owned());
    // Of five nodes three die; the first and the second saw it.
    let members = |two, three: MemberState| [(1, Up), (2, two), (3, three), (4, three), (5, three)];
    let mut all = [Troubles::default(), Troubles::default()];
    let mut look = |view: &ClusterView, leader: Option<u64>, second| {
        [0, 1].map(|index: usize| {
            let me = NodeId(index as u64 + 1);
            all[index].look(view, me, leader.map(NodeId), at(second))
        })
    };
    look(&view(&members(Up, Up), &[Some(3)]), Some(3), 1);
    // The dead leader is taken for the leader as long as nobody stands for election.
    let lonely = view(&members(Up, Suspect), &[None]);
    for second in 2..60 {
        assert_eq!(look(&lonely, Some(3), second), [vec![], vec![]]);
    }
    // It is back and leads; that it is another life stands in the cluster log a moment later.
    let lives = |view: ClusterView| {
        let mut view = view;
        view.members[2].incarnation += 1;
        view
    };
    assert_eq!(look(&view(&members(Up, Up), &[None]), Some(3), 61), [vec![], vec![]]);
    let back = lives(view(&members(Up, Up), &[Some(3)]));
    let [first, second] = look(&back, Some(3), 62);
    assert!(kinds(&first).contains(&quorum()) && second.is_empty(), "{first:?}, {second:?}");
    assert!(names(&first).contains(&"QuorumRegained"), "it was not there before: {first:?}");
    // From now on it sees everything itself.
    assert_eq!(look(&lives(view(&members(Up, Up), &[Some(4)])), Some(3), 63), [vec![], vec![]]);
    assert_eq!(look(&back, Some(3), 80), [vec![], vec![]]);
}

/// Promise G7: where the first of those who saw it is away, the next one tells it.
#[test]
fn who_tells_in_its_place_is_there() {
    let mut troubles = Troubles::default();
    let me = NodeId(2);
    troubles.look(&view(&ALL_UP, &[Some(3)]), me, Some(NodeId(3)), at(1));
    troubles.look(&view(&[(1, Up), (2, Up), (3, Suspect)], &[None]), me, None, at(2));
    let mut back = view(&[(1, Suspect), (2, Up), (3, Up)], &[None]);
    back.members[2].incarnation += 1;
    let told = kinds(&troubles.look(&back, me, Some(NodeId(3)), at(3)));
    assert!(told.contains(&(FailureKind::ShardWithoutQuorum, "shard 0".to_owned())), "{told:?}");
}
