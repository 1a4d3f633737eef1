//! Nodes that die, stop and come back under load; afterwards the ledger must hold (G1, G2, G4).

use serde_json::Value;

use crate::local_cluster::{LocalCluster, is_running};

const LOAD: [&str; 4] = ["--load", "200", "--accounts", "50"];

/// The promise is a second by default settings and optimised; here unoptimised processes share two cores, and the bound only catches what hangs.
const RECOVERY_BOUND_MS: f64 = 20_000.0;

#[test]
fn one_of_three_is_killed_under_load_and_comes_back() {
    let cluster = LocalCluster::start(&LOAD);
    cluster.wait_for_load();
    let before = shown(&cluster, "holm-2");
    let killed = cluster.json(&["kill", "holm-2"]);
    report("kill", &killed);
    assert_eq!((&killed["holds"], &killed["settled"]), (&Value::Bool(true), &Value::Bool(true)));
    assert!(killed["all_serving_ms"].as_f64().unwrap() < RECOVERY_BOUND_MS);
    assert_eq!(killed["probe_errors"], 0, "{killed}");
    let gone = shown(&cluster, "holm-2");
    assert!(gone["pid"].is_null() && gone["state"] != "up", "{gone}");
    let restarted = cluster.json(&["restart", "holm-2"]);
    report("restart", &restarted);
    assert_eq!(restarted["settled"], true);
    let back = shown(&cluster, "holm-2");
    assert_eq!((&back["state"], &back["id"]), (&"up".into(), &before["id"]), "{back}");
    assert_eq!(back["pid"], restarted["pid"]);
    assert!(back["pid"] != before["pid"] && is_running(back["pid"].as_u64().unwrap()), "{back}");
    assert_eq!(restarted["probe_errors"], 0, "{restarted}");
    cluster.assert_ledger_holds(50);
}

#[test]
fn all_are_killed_and_started_again() {
    let cluster = LocalCluster::start(&LOAD);
    cluster.wait_for_load();
    for node in ["holm-1", "holm-2", "holm-3"] {
        cluster.json(&["kill", node, "--no-watch"]);
    }
    cluster.wait_until("all are gone", |it| {
        it.status()["nodes"].as_array().unwrap().iter().all(|node| node["pid"] == 0)
    });
    for node in ["holm-3", "holm-1", "holm-2"] {
        cluster.json(&["restart", node, "--no-watch"]);
    }
    cluster.wait_until("the load is answered again", |it| {
        let status = it.status();
        let last = status["load"]["reports"].as_array().unwrap().last().cloned().unwrap();
        status["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "up")
            && last["answered"].as_u64() > Some(0)
    });
    cluster.assert_ledger_holds(50);
}

#[test]
fn a_paused_node_is_replaced_and_cannot_write_when_it_wakes() {
    let cluster = LocalCluster::start(&LOAD);
    cluster.wait_for_load();
    let paused = cluster.json(&["pause", "holm-1"]);
    report("pause", &paused);
    assert_eq!((&paused["holds"], &paused["settled"]), (&Value::Bool(true), &Value::Bool(true)));
    let resumed = cluster.json(&["resume", "holm-1"]);
    report("resume", &resumed);
    assert_eq!((&resumed["holds"], &resumed["settled"]), (&Value::Bool(true), &Value::Bool(true)));
    cluster.assert_ledger_holds(50);
}

/// A node as `holm status` shows it.
fn shown(cluster: &LocalCluster, name: &str) -> Value {
    let status = cluster.json(&["status"]);
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap().clone()
}

/// Prints what was measured; the bounds are generous, the figures are not lost.
pub(crate) fn report(what: &str, document: &Value) {
    println!(
        "{what} {}: every shard answers after {} ms; unavailable {}; longest wait of a probe {} ms; {} probe errors; commands {}",
        document["node"],
        document["all_serving_ms"],
        document["unavailable"],
        document["longest_wait_ms"],
        document["probe_errors"],
        document["commands"],
    );
}
