//! A campaign on a running cluster: what it reports, and that a lie in the ledger is found.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::local_cluster::{LocalCluster, told};

/// Writes down an answer that nobody gave.
fn lie(cluster: &LocalCluster) {
    let status = cluster.status();
    let lie = json!({
        "entity": "account/1", "command": "deposit", "key": "never-sent", "amount": 1, "sent_us": 1, "at_us": 2,
        "outcome": "accepted", "seq": 1_000_000, "shard": 0, "offset": 1_000_000, "balance": 1, "served_by": "1",
    });
    let path = status["ledger"].as_str().unwrap();
    let mut ledger = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    // In one write: the load generator appends to the same file.
    ledger.write_all(format!("{lie}\n").as_bytes()).unwrap();
}

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

    lie(&cluster);
    let found = cluster.holm(&["chaos", "--faults", "pause-second:1", "--json"]);
    assert_eq!(found.status.code(), Some(3), "{}", told(&found));
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((&report["holds"], &report["ledger"]["missing"]), (&json!(false), &json!(1)));
    assert!(report["rounds"][0]["problems"][0].as_str().unwrap().contains("never-sent"));

    // A single kill reads the same ledger: the cluster recovers, and what was promised is missing all the same.
    let killed = cluster.holm(&["kill", "holm-2", "--json"]);
    assert_eq!(killed.status.code(), Some(3), "{}", told(&killed));
    let killed: Value = serde_json::from_slice(&killed.stdout).unwrap();
    assert_eq!((&killed["settled"], &killed["holds"]), (&json!(true), &json!(false)), "{killed}");
    assert_eq!(killed["ledger"]["missing"], 1, "{killed}");
}

/// Promises G1 and G2 for callers that come over HTTP.
#[test]
fn a_campaign_holds_also_when_the_load_comes_over_http() {
    let cluster =
        LocalCluster::start(&["--load", "100", "--accounts", "20", "--shards", "8", "--load-http"]);
    cluster.wait_for_load();
    let args = std::fs::read(format!("/proc/{}/cmdline", cluster.status()["load"]["pid"])).unwrap();
    assert!(String::from_utf8_lossy(&args).contains("--http"), "the load goes through HTTP");
    let report =
        cluster.json(&["chaos", "--faults", "kill-leader:1,pause-second:1", "--seed", "4"]);
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2, "{report}");
    assert!(report["ledger"]["acknowledged"].as_u64() > Some(100), "{report}");
    assert!(report["order"]["reads"].as_u64() > Some(10), "{report}");
}

/// Promises G2 and G6: money on its way while nodes are killed is where it belongs at the end, to the cent, also what had to turn back because the account
/// that it went to was closed.
#[test]
fn money_moves_while_nodes_are_killed_and_none_is_lost_or_made() {
    let cluster = LocalCluster::start(&["--no-load", "--shards", "8"]);
    let faults = ["chaos", "--faults", "kill-leader:1,kill-random:1,kill-all:1", "--seed", "5"];
    let report = cluster.json(&[&faults[..], &["--transfers", "300"]].concat());
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    let money = &report["transfers"];
    assert_eq!((&money["planned"], &money["started"]), (&json!(300), &json!(300)), "{money}");
    assert_eq!((&money["accounts"], &money["closed"]), (&json!(30), &json!(3)), "{money}");
    assert_eq!((&money["sum"], &money["paid_in"]), (&json!(30_000), &json!(30_000)), "{money}");
    assert!(money["paid_out"].as_u64() > Some(0), "{money}");
    // One in ten wants more than there is; of the others some find an account empty, and some one that is closed.
    let ended = |stage: &str| money["stages"][stage].as_u64().unwrap_or_default();
    let (completed, failed, refunded) = (ended("completed"), ended("failed"), ended("refunded"));
    assert!(completed > 100 && failed >= 30 && refunded > 0, "{money}");
    assert_eq!(completed + failed + refunded, 300, "{money}");
    // One more for each that was overdue.
    let least = 3 * completed + 2 * failed + 4 * refunded;
    assert!(money["events"].as_u64() >= Some(least), "{money}");
    // The harm met them: some were under way each time, and where all nodes were gone everybody had to ask again.
    let at_harm = money["at_harm"].as_array().unwrap();
    assert_eq!(at_harm.len(), 3, "{money}");
    assert!(at_harm.iter().all(|count| count.as_u64() > Some(0)), "{money}");
    assert!(money["retries"].as_u64() > Some(0), "{money}");
}

/// A round that does not hold is the last one, also for the money: what was not started by then never is, and what was is judged.
#[test]
fn no_money_is_sent_off_after_a_round_that_does_not_hold() {
    let cluster = LocalCluster::start(&["--load", "20", "--accounts", "10", "--shards", "8"]);
    cluster.wait_for_load();
    lie(&cluster);
    let faults = ["chaos", "--faults", "kill-random:3", "--transfers", "300", "--json"];
    let found = cluster.holm(&faults);
    assert_eq!(found.status.code(), Some(3), "{}", told(&found));
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["rounds"].as_array().unwrap().len(), 1, "{report}");
    let money = &report["transfers"];
    let started = money["started"].as_u64().unwrap();
    assert!(started > 0 && started <= 100, "a third was allowed: {money}");
    assert_eq!((&money["problems"], &money["sum"]), (&json!([]), &json!(30_000)), "{money}");
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
