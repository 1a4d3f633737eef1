//! Faults on real processes, a few of each: what each commit must survive. Longer runs are `cargo xtask chaos`.
#![expect(clippy::unwrap_used, reason = "a step that fails, fails its test with its line")]

use std::process::Command;

use serde_json::{Value, json};

/// Most seconds until every shard must answer again. The processes are unoptimised and share two cores with whatever else is tested.
const WITHIN: &str = "45";

/// Promises G1, G2, G3, G4 and G5: whatever happens to processes, network and disks, nothing that was acknowledged is missing, doubled or altered, and
/// every entity behaves as if its commands had happened one after another.
#[test]
fn every_kind_of_fault_is_survived() {
    let faults = "kill:10,pause-second:1,pause-lease:2,partition:3,power:3,full:2,eio:1";
    let report = campaign(&["--faults", faults, "--seed", "7"]);
    let rounds = report["rounds"].as_array().unwrap().len();
    let skipped: u64 = report["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| {
            println!(
                "skipped: {} rounds of {}: {}",
                skipped["rounds"], skipped["fault"], skipped["reason"]
            );
            skipped["rounds"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(rounds as u64 + skipped, 22, "{report}");
    assert!(rounds >= 13, "kills and pauses need nothing that could be missing");
}

/// Runs a campaign and expects that every check holds.
fn campaign(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_holm-faults"))
        .args(["chaos", "--json", "--load", "150", "--accounts", "60", "--shards", "8"])
        .args(["--within", WITHIN])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!((output.status.code(), &report["holds"]), (Some(0), &json!(true)));
    let ledger = &report["ledger"];
    assert!(ledger["acknowledged"].as_u64() > Some(100), "the load did something: {ledger}");
    assert_eq!(ledger["acknowledged"], ledger["read_back"]);
    assert!(report["order"]["reads"].as_u64() > Some(20), "and read: {}", report["order"]);
    report
}
