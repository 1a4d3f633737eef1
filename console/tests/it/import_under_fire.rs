//! An import during which a node is killed, and which is then repeated with the same keys: every line takes effect once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::import_flights::{expected, flights_file};
use crate::local_cluster::{LocalCluster, command, told};

const ACCOUNTS: u64 = 20;
const LINES: u64 = 3_000;

#[test]
fn an_import_with_a_kill_in_the_middle_counts_every_line_once() {
    let cluster = LocalCluster::start(&["--no-load"]);
    let file = cluster.dir().join("deposits.ndjson");
    let expected = write_lines(&file);
    let path = file.to_str().unwrap();
    let import = command(cluster.dir(), &["import", path, "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    cluster.wait_until("some lines are in", |it| {
        it.send(0, "account/import-1", "balance", &json!({}), "read")
            .is_some_and(|(status, answer)| status == 200 && answer["reply"].as_u64() > Some(0))
    });
    cluster.json(&["kill", "holm-2", "--no-watch"]);
    let imported = import.wait_with_output().unwrap();
    println!("{}", String::from_utf8_lossy(&imported.stdout));
    assert!(imported.status.success(), "{}", told(&imported));
    cluster.json(&["restart", "holm-2"]);
    let again = cluster.holm(&["import", path, "--json"]);
    assert!(again.status.success(), "{}", told(&again));
    for (account, balance) in expected {
        let answer = cluster.send_until_answered(
            &format!("account/{account}"),
            "balance",
            &json!({}),
            "read",
        );
        assert_eq!(answer["reply"], balance, "{account}");
    }
}

/// Real input on real processes: the file of flights, a node killed while it is read, and the whole file once more.
#[test]
fn flights_count_once_also_when_a_node_is_killed_in_the_middle() {
    let cluster = LocalCluster::start(&["--no-load", "--shards", "8"]);
    let file = flights_file();
    let import = ["import", "--flights", file.to_str().unwrap(), "--json"];
    let mut running = command(cluster.dir(), &import)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The airport that most flights begin or end at.
    cluster.wait_until("some flights are in", |it| {
        it.send(0, "airport/DFW", "totals", &json!({}), "read")
            .is_some_and(|(status, told)| status == 200 && told["reply"]["departures"] != 0)
    });
    cluster.json(&["kill", "holm-2", "--no-watch"]);
    assert!(running.try_wait().unwrap().is_none(), "the import was over before the kill");
    let imported = running.wait_with_output().unwrap();
    assert!(imported.status.success(), "{}", told(&imported));
    let report: Value = serde_json::from_slice(&imported.stdout).unwrap();
    println!("{report}");
    assert_eq!((&report["lines"], &report["failed"]), (&json!(20_000), &json!(0)));
    cluster.json(&["restart", "holm-2"]);
    let again = cluster.json(&import[..3]);
    assert_eq!((&again["replayed"], &again["accepted"]), (&json!(20_000), &json!(0)), "{again}");
    let expected = expected();
    assert_eq!(expected.len(), 218);
    for (code, totals) in expected {
        let airport = format!("airport/{code}");
        let told = cluster.send_until_answered(&airport, "totals", &json!({}), "read");
        assert_eq!(told["reply"], json!(totals), "{code}");
    }
}

/// Writes an opening for each account, then deposits; gives the balances computed on the way.
fn write_lines(file: &std::path::Path) -> BTreeMap<String, u64> {
    let mut balances = BTreeMap::new();
    let mut text = String::new();
    let mut line = |id: &str, command: &str, body: serde_json::Value, key: String| {
        let line =
            json!({ "type": "account", "id": id, "command": command, "body": body, "key": key });
        writeln!(text, "{line}").unwrap();
    };
    for account in 1..=ACCOUNTS {
        let id = format!("import-{account}");
        line(&id, "open", json!({ "owner": "import" }), format!("open-{account}"));
        balances.insert(id, 0);
    }
    for nth in 0..LINES {
        let id = format!("import-{}", 1 + nth % ACCOUNTS);
        let amount = 1 + nth * 7 % 100;
        line(&id, "deposit", json!({ "amount": amount }), format!("line-{nth}"));
        *balances.get_mut(&id).unwrap() += amount;
    }
    std::fs::write(file, text).unwrap();
    balances
}
