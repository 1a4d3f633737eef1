//! A replica that moved away and came back with nothing: what it once confirmed still counts in elections.

use std::time::Duration;

use holm_core::{Offset, ShardId, Term};
use holm_persistence::ShardLog as _;
use holm_persistence::conformance::{Writer, address, wait};

use super::nodes::Nodes;

const SHARD: ShardId = ShardId(0);

/// Longer than a lease and an election together, several times.
const LONG: Duration = Duration::from_secs(3);

/// Promise G1. Of three voters one has everything, one was cut off before most of it, and one had it and came back empty. Without the first,
/// the other two are a majority; that majority must not elect the one that never had what was acknowledged.
#[test]
fn an_emptied_replica_elects_nobody_who_lacks_what_it_had() {
    let mut nodes = Nodes::of(3);
    let (whole, term) = nodes.leader_above(SHARD, 0);
    let (stale, emptied) = ((whole + 1) % 3, (whole + 2) % 3);
    let log = nodes.log(whole);
    wait(log.open(SHARD, Term(term))).unwrap();
    let mut writer = Writer::new(SHARD, Term(term));
    let alice = address("account/alice");
    assert_eq!(wait(log.append(writer.batch(&[(&alice, 1)]))), Ok(()));
    assert_eq!(nodes.followed(whole, SHARD), [Offset(1); 3]);

    nodes.cut_off(stale);
    for _ in 0..100 {
        assert_eq!(wait(log.append(writer.batch(&[(&alice, 1)]))), Ok(()));
    }
    nodes.halt(whole, SHARD);
    nodes.move_away_and_back(emptied, SHARD);
    nodes.heal();
    let elected = nodes.block_on(async {
        let elected = async {
            while nodes.find_leader(SHARD, 0).is_none() {
                // It need not wait for its timer: this is what a node does that sees another die.
                nodes.group(stale, SHARD).stand().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        tokio::time::timeout(LONG, elected).await
    });
    assert!(elected.is_err(), "acknowledged batches are missing where the shard is led");

    nodes.resume(whole, SHARD);
    let leader = nodes.settled_leader(SHARD);
    assert_eq!(leader, whole, "who has everything leads");
    assert_eq!(nodes.followed(whole, SHARD), [Offset(101); 3]);
    // It has caught up and is a voter like any other: without the first, it elects or is elected.
    nodes.halt(whole, SHARD);
    let leader = nodes.settled_leader(SHARD);
    assert_eq!(nodes.log(leader).last_offset(SHARD), Ok(Offset(101)));
}
