//! Both sides of the fence, each without the other: what a deposed leader made does not enter the log, and does not count where it did.

use std::cell::Cell;

use holm_core::{Offset, SequenceNumber, ShardId, Term};
use holm_persistence::conformance::{Writer, address, wait};
use holm_persistence::{AppendError, Batch, ReadError, ShardLog as _};

use super::nodes::Nodes;
use crate::raft::Applied;
use crate::raft::consensus::{Consensus as _, NotProposed};

const SHARD: ShardId = ShardId(0);

/// Three nodes whose first leadership wrote one batch, was lost, and was won again by the same node under a higher term.
struct WonAgain {
    nodes: Nodes,
    place: usize,
    /// Writes under the first term, behind the first batch.
    old: Writer,
    term: u64,
}

fn won_again() -> WonAgain {
    let nodes = Nodes::of(3);
    let first = nodes.leader_above(SHARD, 0);
    let (place, term) = first;
    let log = nodes.log(place);
    assert_eq!(wait(log.open(SHARD, Term(term))).unwrap().last, Offset::ZERO);
    let mut old = Writer::new(SHARD, Term(term));
    let batch = old.batch(&[(&address("account/alice"), 1)]);
    assert_eq!(wait(log.append(batch)), Ok(()));
    let second = nodes.transfer(SHARD, first, (place + 1) % 3);
    let third = nodes.transfer(SHARD, second, place);
    assert_eq!(third.0, place, "it leads again");
    nodes.settled_leader(SHARD);
    WonAgain { nodes, place, old, term: third.1 }
}

impl WonAgain {
    /// How far the log of the leader reaches, with whatever stands in it.
    fn entries(&self) -> Option<u64> {
        self.nodes.group(self.place, SHARD).metrics().last_log_index
    }

    /// How far each replica has come, once it has followed all that stands in the log.
    fn offsets(&self) -> Vec<Offset> {
        self.nodes.followed(self.place, SHARD)
    }
}

/// Promise G3, the leader's side: a write names the term it was made under, and is not even appended under another one, also not by the same
/// node.
#[test]
fn what_was_made_under_a_lost_term_does_not_enter_the_log() {
    let mut shard = won_again();
    let late = shard.old.batch(&[(&address("account/alice"), 1)]);
    let (group, before) = (shard.nodes.group(shard.place, SHARD), shard.entries());
    let proposed = wait(group.propose(late.term().0, late.bytes().clone()));
    assert_eq!(proposed, Err(NotProposed::NotLeader));
    assert_eq!(shard.entries(), before);
    assert_eq!(shard.offsets(), [Offset(1); 3]);
}

/// Promise G3, the replicas' side: a batch of another term that stands in the log all the same is refused by every replica alike, and what
/// follows it fits behind what was accepted.
#[test]
fn what_stands_in_the_log_under_another_term_is_refused_by_every_replica() {
    let mut shard = won_again();
    let before = shard.old.clone();
    let late = shard.old.batch(&[(&address("account/alice"), 1)]);
    let (group, end) = (shard.nodes.group(shard.place, SHARD), shard.entries().unwrap());
    let proposed = wait(group.propose(shard.term, late.bytes().clone()));
    assert_eq!(proposed, Ok(Applied::Fenced));
    assert_eq!(shard.entries(), Some(end + 1), "it stands in the log");
    assert_eq!(shard.offsets(), [Offset(1); 3], "and counts nowhere");
    let log = shard.nodes.log(shard.place);
    wait(log.open(SHARD, Term(shard.term))).unwrap();
    let next = before.at(Term(shard.term)).batch(&[(&address("account/alice"), 1)]);
    assert_eq!(wait(log.append(next.clone())), Ok(()));
    assert_eq!(shard.offsets(), [Offset(2); 3]);
    for place in 0..shard.nodes.count() {
        let read = shard.nodes.log(place).read(SHARD, Offset(2), 1);
        assert_eq!(read.as_deref(), Ok(std::slice::from_ref(&next)), "node {place}");
    }
}

/// An index that is found damaged while the replica runs is built from the log, by the same judgement; and batches are followed as before.
#[test]
fn an_index_built_anew_judges_what_stands_in_the_log_again() {
    let mut shard = won_again();
    let (alice, before) = (address("account/alice"), shard.old.clone());
    let late = shard.old.batch(&[(&alice, 1)]);
    let proposed =
        wait(shard.nodes.group(shard.place, SHARD).propose(shard.term, late.bytes().clone()));
    assert_eq!(proposed, Ok(Applied::Fenced));
    let log = shard.nodes.log(shard.place);
    wait(log.open(SHARD, Term(shard.term))).unwrap();
    let mut writer = before.at(Term(shard.term));
    let mut expected: Vec<Batch> = log.read(SHARD, Offset(1), usize::MAX).unwrap();
    let damage = || {
        for place in 0..shard.nodes.count() {
            let replica = shard.nodes.log(place).replica(SHARD).unwrap();
            let tries = Cell::new(0);
            let found = replica.index().with(|index| match tries.replace(tries.get() + 1) {
                0 => Err(ReadError::Store {
                    shard: SHARD,
                    reason: index.report_damage("a test says so").to_string(),
                }),
                _ => Ok(index.last_offset()),
            });
            assert_eq!(found, Ok(shard.nodes.log(place).last_offset(SHARD).unwrap()));
        }
    };
    for _ in 0..2 {
        damage();
        expected.push(writer.batch(&[(&alice, 1)]));
        assert_eq!(wait(log.append(expected.last().unwrap().clone())), Ok(()));
        let last = expected.last().unwrap().last();
        assert_eq!(shard.offsets(), [last; 3]);
        for place in 0..shard.nodes.count() {
            let log = shard.nodes.log(place);
            assert_eq!(log.read(SHARD, Offset(1), usize::MAX).as_ref(), Ok(&expected));
            let history = log.history(SHARD, &alice, SequenceNumber::ZERO, usize::MAX).unwrap();
            assert_eq!(history.head, last, "node {place}");
        }
    }
}

/// The follower does not wait for a reader: the next batch finds the damage itself.
#[test]
fn a_batch_that_meets_a_damaged_index_is_followed_all_the_same() {
    let shard = won_again();
    let log = shard.nodes.log(shard.place);
    wait(log.open(SHARD, Term(shard.term))).unwrap();
    let mut writer = shard.old.clone().at(Term(shard.term));
    for place in 0..shard.nodes.count() {
        let replica = shard.nodes.log(place).replica(SHARD).unwrap();
        let index = replica.index().with(|index| Ok(index.report_damage("a test says so")));
        assert!(index.is_ok());
    }
    assert_eq!(wait(log.append(writer.batch(&[(&address("account/alice"), 1)]))), Ok(()));
    assert_eq!(shard.offsets(), [Offset(2); 3]);
}

/// Promise G3: the log that was opened at a term takes nothing of an earlier one.
#[test]
fn an_opened_log_refuses_what_was_made_before() {
    let mut shard = won_again();
    let log = shard.nodes.log(shard.place);
    wait(log.open(SHARD, Term(shard.term))).unwrap();
    let late = shard.old.batch(&[(&address("account/alice"), 1)]);
    let (term, refused) = (late.term(), wait(log.append(late)));
    assert_eq!(refused, Err(AppendError::Fenced { shard: SHARD, term }));
    assert_eq!(shard.offsets(), [Offset(1); 3]);
}
