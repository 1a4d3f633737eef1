//! Faults on real processes, a few of each: what each commit must survive. Longer runs are `cargo xtask chaos`.
#![expect(clippy::unwrap_used, reason = "a step that fails, fails its test with its line")]

#[path = "../../tests/it/skipped.rs"]
mod skipped;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use self::skipped::skipped;
use serde_json::{Value, json};

/// Most seconds until every shard must answer again. The processes are unoptimised and share two cores with whatever else is tested.
const WITHIN: &str = "45";

/// What is done, how many rounds of it, and the programs of the system that it needs besides root.
const FAULTS: [(&str, u64, &[&str]); 6] = [
    ("kill", 10, &[]),
    ("pause", 3, &[]),
    ("partition", 3, &["iptables", "iptables-restore"]),
    ("power", 3, DISKS),
    ("full", 2, DISKS),
    ("eio", 1, &["strace"]),
];

const DISKS: &[&str] = &["mkfs.ext4", "mount", "umount", "perl", "truncate", "fallocate"];

/// Promises G1, G2, G3, G4 and G5: whatever happens to processes, network and disks, nothing that was acknowledged is missing, doubled or altered, and
/// every entity behaves as if its commands had happened one after another. What this machine has the means for is done, every round of it.
#[test]
fn every_kind_of_fault_is_survived() {
    let faults = "kill:10,pause-second:1,pause-lease:2,partition:3,power:3,full:2,eio:1";
    let report = campaign(&["--faults", faults, "--seed", "7"]);
    let of_kind = |list: &str, kind: &str| -> Vec<Value> {
        let all = report[list].as_array().unwrap().iter();
        let is_of = |it: &&Value| it["fault"].as_str().unwrap().split('-').next() == Some(kind);
        all.filter(is_of).cloned().collect()
    };
    for (kind, wanted, programs) in FAULTS {
        let (done, left_out) = (of_kind("rounds", kind), of_kind("skipped", kind));
        let rounds: u64 = left_out.iter().map(|it| it["rounds"].as_u64().unwrap()).sum();
        assert_eq!(done.len() as u64 + rounds, wanted, "{kind}: {report}");
        for skip in &left_out {
            let reason = skip["reason"].as_str().unwrap();
            skipped(&format!("{} rounds of {}: {reason}", skip["rounds"], skip["fault"]));
        }
        let lacking = lacking(kind, programs);
        assert_eq!(lacking, !left_out.is_empty(), "{kind}: {left_out:?}");
    }
}

/// Whether this machine lacks something for a kind of fault.
fn lacking(kind: &str, programs: &[&str]) -> bool {
    let needs_root = !programs.is_empty();
    let refused = match kind {
        "partition" => !run("iptables", &["-L", "INPUT", "-n"]),
        "power" | "full" => !Path::new("/dev/loop-control").exists(),
        _ => false,
    };
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    needs_root && (!is_root || refused || !programs.iter().all(|program| is_installed(program)))
}

fn is_installed(program: &str) -> bool {
    run("sh", &["-c", &format!("PATH=$PATH:/usr/sbin:/sbin command -v {program}")])
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
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
