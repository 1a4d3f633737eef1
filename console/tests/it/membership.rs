//! Nodes that join and leave: nobody who calls sees an error.

use crate::failures::report;
use crate::local_cluster::LocalCluster;

#[test]
fn a_node_joins_and_another_leaves_without_an_error() {
    let cluster = LocalCluster::start(&["--load", "200", "--accounts", "50"]);
    cluster.wait_for_load();
    let joined = cluster.json(&["join"]);
    report("join", &joined);
    assert_eq!(joined["settled"], true, "{joined}");
    assert_eq!(joined["probe_errors"], 0, "{joined}");
    assert!(joined["shards_moved"].as_u64() > Some(0), "it leads a share of the shards");
    let left = cluster.json(&["leave", "holm-1"]);
    report("leave", &left);
    assert_eq!(left["settled"], true, "{left}");
    assert_eq!(left["probe_errors"], 0, "{left}");
    let status = cluster.status();
    let last = status["load"]["reports"].as_array().unwrap().last().cloned().unwrap();
    assert_eq!(last["total_failed"], 0, "{last}");
    cluster.assert_ledger_holds(200);
}

#[test]
fn a_node_that_is_told_to_end_hands_over_first() {
    // Little to hand over: what other tests leave of the processor must be enough for it to be in time.
    let cluster = LocalCluster::start(&["--load", "50", "--accounts", "50", "--shards", "8"]);
    cluster.wait_for_load();
    let ended = cluster.json(&["kill", "holm-3", "--graceful"]);
    report("graceful kill", &ended);
    assert_eq!((&ended["holds"], &ended["settled"]), (&true.into(), &true.into()), "{ended}");
    assert_eq!(ended["probe_errors"], 0, "{ended}");
    cluster.assert_ledger_holds(50);
}
