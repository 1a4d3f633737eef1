//! Answers that come when they are no longer true.

use std::time::Duration;

use holm_core::ShardId;
use tokio::time::Instant;

use super::nodes::Nodes;
use crate::raft::ConsensusTimes;
use crate::raft::consensus::Consensus as _;

const SHARD: ShardId = ShardId(0);

/// Pause between two looks at something that tells of no change.
const LOOK: Duration = Duration::from_millis(1);

/// Promise G5: what a replica said before it followed somebody else tells a leader nothing about now, however late its answer comes, and whatever else was
/// handed over for it meanwhile.
#[test]
fn a_leader_that_hears_late_of_old_agreement_answers_no_read() {
    let nodes = Nodes::of(3);
    let old = nodes.settled_leader(SHARD);
    nodes.followed(old, SHARD);
    let (first, second) = ((old + 1) % 3, (old + 2) % 3);
    let group = nodes.group(old, SHARD);
    let term = group.metrics().current_term;
    nodes.block_on(group.confirm(term)).unwrap();

    // The others take an entry, and their answers are on their way for long.
    let answers = [first, second].map(|other| nodes.hold_answers(other, old));
    let written = group.barrier(term);
    let entry = nodes.block_on(async {
        let before = group.metrics().last_log_index;
        loop {
            let now = group.metrics().last_log_index;
            let has = |place| nodes.group(place, SHARD).metrics().last_log_index == now;
            if now >= before
                && now > group.metrics().last_applied.map(|at| at.index())
                && has(first)
                && has(second)
            {
                return now;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    // What is said from here on is not heard.
    for other in [first, second] {
        nodes.close_way(other, old);
        nodes.close_way(old, other);
    }
    nodes.block_on(async {
        tokio::time::sleep(ConsensusTimes::default().election_max).await;
        while nodes.find_leader(SHARD, term).is_none() {
            nodes.group(second, SHARD).stand().await;
            tokio::time::sleep(ConsensusTimes::default().election_min).await;
        }
    });
    let (next, next_term) = nodes.leader_above(SHARD, term);
    assert_ne!(next, old);
    nodes.block_on(nodes.group(next, SHARD).settle(next_term)).unwrap();

    // One answer commits the entry, whereupon a mark is handed over for the other replica; then comes the answer of that one.
    answers[0].send(true).unwrap();
    nodes.block_on(written).expect("a majority has it");
    answers[1].send(true).unwrap();
    let slow = nodes.group(second, SHARD).metrics().id;
    nodes.block_on(async {
        let matched = || group.metrics().replication?.get(&slow).copied().flatten();
        while matched().map(|at| at.index()) != entry {
            tokio::time::sleep(LOOK).await;
        }
    });
    assert!(!group.confirm_at_once(term), "a read of the past, by a lease that is over");
    let asked = Instant::now();
    let mut read = group.confirm(term);
    nodes.block_on(async {
        let answer = tokio::time::timeout(Duration::from_millis(300), &mut read).await;
        assert!(
            !matches!(answer, Ok(Ok(()))),
            "a read of the past, {:?} after it was asked for",
            asked.elapsed()
        );
    });
    assert_eq!(group.metrics().last_applied.map(|at| at.index()), entry);
}
