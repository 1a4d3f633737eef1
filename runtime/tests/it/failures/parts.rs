//! The parts of the log of failures: none waits for another.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::ShardId;
use holm_runtime::bus::{Interest, Start};
use holm_runtime::{FailureEvent, FailureFilter, FailureKind, FailureLog, Subject};

use super::Node;

/// Promise G7: where a part of the log cannot be written, the facts of all other parts are stored all the same, and its own as soon as it can.
#[tokio::test]
async fn a_part_that_does_not_answer_holds_up_no_other() {
    let node = Node::start().await;
    let mut seen = node.bus().subscribe(Interest::of::<FailureLog>(), Start::Now).await.unwrap();
    let report_all = || {
        for number in 0..40 {
            let subject = Subject::Shard(ShardId(number));
            node.host.report(FailureKind::ShardMoved, subject, "from here to there");
        }
    };
    let mut next = async || {
        let fact = tokio::time::timeout(Duration::from_secs(60), seen.next()).await;
        let fact = fact.expect("it is stored").unwrap();
        match fact.event::<FailureLog>().unwrap() {
            FailureEvent::Failed { fact: failure } => (failure.subject, fact.shard()),
            settled @ FailureEvent::Settled { .. } => panic!("{settled:?}"),
        }
    };
    report_all();
    let mut home = BTreeMap::new();
    while home.len() < 40 {
        let (subject, shard) = next().await;
        home.insert(subject, shard);
    }
    let held = home[&Subject::Shard(ShardId(0))];
    let elsewhere = home.values().filter(|home| **home != held).count();
    assert!(elsewhere > 0, "all parts are in one shard");
    node.log.hold_shard(held);
    // Those of the first time hang already when the second are told.
    for _ in 0..2 {
        report_all();
        for _ in 0..elsewhere {
            assert_ne!(next().await.1, held);
        }
    }
    assert!(node.host.failures_waiting() > 0);
    node.log.release_all();
    assert!(node.host.settle(Duration::from_secs(60)).await);
    node.host.stop().await;
}

/// Promise G7: where a part of the log cannot be read, its facts wait until it can.
#[tokio::test]
async fn a_part_that_cannot_be_read_is_tried_until_it_can() {
    let node = Node::start().await;
    node.log.fail_reads(true);
    let subject = Subject::Shard(ShardId(0));
    node.host.report(FailureKind::ShardMoved, subject.clone(), "from here to there");
    // Long enough for some tries: were it given up after the first, it would never be stored.
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.log.fail_reads(false);
    assert!(node.host.settle(Duration::from_secs(60)).await);
    let list = node.failures().list(&FailureFilter::default()).await.unwrap();
    let moved = list.rows.iter().find(|row| row.kind == FailureKind::ShardMoved).unwrap();
    assert_eq!((&moved.subject, moved.count), (&subject, 1));
    node.host.stop().await;
}
