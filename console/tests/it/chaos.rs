//! A campaign on a running cluster: what it reports, and that a lie in the ledger is found.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::local_cluster::{LocalCluster, told};

/// Promises G1 and G5 as a user can check them; and a check that could not fail would be none.
#[test]
fn a_campaign_reports_its_rounds_and_finds_what_was_never_stored() {
    let cluster = LocalCluster::start(&["--load", "150", "--accounts", "40", "--shards", "8"]);
    cluster.wait_for_load();
    let faults = ["chaos", "--faults", "kill-leader:1,pause-lease:1,power:1", "--seed", "3"];
    let report = cluster.json(&faults);
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["skipped"][0]["fault"], "power-one", "without root's hands it is skipped");
    assert!(report["order"]["reads"].as_u64() > Some(10), "{report}");

    let status = cluster.status();
    let lie = json!({
        "entity": "account/1", "command": "deposit", "key": "never-sent", "amount": 1, "sent_us": 1, "at_us": 2,
        "outcome": "accepted", "seq": 1_000_000, "shard": 0, "offset": 1_000_000, "balance": 1, "served_by": "1",
    });
    let path = status["ledger"].as_str().unwrap();
    let mut ledger = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    // In one write: the load generator appends to the same file.
    ledger.write_all(format!("{lie}\n").as_bytes()).unwrap();
    let found = cluster.holm(&["chaos", "--faults", "pause-second:1", "--json"]);
    assert_eq!(found.status.code(), Some(3), "{}", told(&found));
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((&report["holds"], &report["ledger"]["missing"]), (&json!(false), &json!(1)));
    assert!(report["rounds"][0]["problems"][0].as_str().unwrap().contains("never-sent"));
}

/// Promises G2 and G6: money on its way while nodes are killed is where it belongs at the end, to the cent.
#[test]
fn money_moves_while_nodes_are_killed_and_none_is_lost_or_made() {
    let cluster = LocalCluster::start(&["--no-load", "--shards", "8"]);
    let report = cluster.json(&[
        "chaos",
        "--faults",
        "kill-leader:1,kill-random:1,kill-all:1",
        "--seed",
        "5",
        "--transfers",
        "300",
    ]);
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    let money = &report["transfers"];
    assert_eq!((&money["started"], &money["accounts"]), (&json!(300), &json!(30)), "{money}");
    assert_eq!((&money["sum"], &money["paid_in"]), (&json!(30_000), &json!(30_000)), "{money}");
    // One in ten wants more than there is; of the others some find an account empty.
    let (completed, failed) = (&money["stages"]["completed"], &money["stages"]["failed"]);
    let (completed, failed) = (completed.as_u64().unwrap(), failed.as_u64().unwrap());
    assert!(completed > 100 && failed >= 30 && completed + failed == 300, "{money}");
    assert_eq!(money["events"], json!(3 * completed + 2 * failed), "{money}");
}

/// Whether processes grow is judged of those that live through enough rounds, and the report says of how many; none would mean that nothing was looked at.
#[test]
fn processes_that_live_long_are_judged_by_what_they_use() {
    let cluster = LocalCluster::start(&["--no-load", "--shards", "8"]);
    let report = cluster.json(&["chaos", "--faults", "pause-second:6", "--seed", "4"]);
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    let judged = report["resources"].as_array().unwrap();
    assert_eq!((&report["processes"], judged.len()), (&json!(3), 3), "{report}");
    for node in judged {
        assert_eq!(node["rounds"], 6, "{node}");
        assert!(node["memory_kib"]["to"].as_u64() > Some(1_000), "{node}");
        assert!(node["descriptors"]["to"].as_u64() > Some(3), "{node}");
    }
}
