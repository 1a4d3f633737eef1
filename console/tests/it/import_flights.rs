//! Real input: 10,000 flights imported through the program, and every count and sum compared with a computation of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use holm_domains::flights::{Airport, AirportTotals, Totals};
use serde_json::{Value, json};

use super::one_node::OneNode;

pub(crate) fn flights_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/flights-10k.json")
}

/// What the airports must say, straight from the file and without any code of the program.
pub(crate) fn expected() -> BTreeMap<String, AirportTotals> {
    let text = std::fs::read_to_string(flights_file()).unwrap();
    let flights: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut airports = BTreeMap::<String, AirportTotals>::new();
    for flight in &flights {
        let delay = flight["delay"].as_i64().unwrap();
        let distance = flight["distance"].as_u64().unwrap();
        for end in ["origin", "destination"] {
            let totals = airports.entry(flight[end].as_str().unwrap().to_owned()).or_default();
            totals.departures += u64::from(end == "origin");
            totals.arrivals += u64::from(end == "destination");
            totals.delay_minutes += delay;
            totals.distance_miles += distance;
        }
    }
    airports
}

/// Runs the program while the node in this process goes on.
async fn holm(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
    command.args(["--url", url, "--json"]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

async fn assert_totals(node: &OneNode) {
    let expected = expected();
    assert_eq!(expected.len(), 218);
    for (code, totals) in expected {
        let told = node.holm.entity::<Airport>(code.as_str()).ask(Totals {}).await.unwrap();
        assert_eq!(told, totals, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_count_once_however_often_the_file_is_imported() {
    let node = OneNode::start().await;
    let file = flights_file();
    let file = file.to_str().unwrap();

    let first = document(&holm(node.url(), &["import", "--flights", file]).await);
    assert_eq!((&first["lines"], &first["accepted"]), (&json!(20_000), &json!(20_000)), "{first}");
    assert_totals(&node).await;

    let again = document(&holm(node.url(), &["import", "--flights", file]).await);
    assert_eq!((&again["replayed"], &again["accepted"]), (&json!(20_000), &json!(0)), "{again}");
    assert_totals(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_as_ndjson_are_the_same_commands() {
    let node = OneNode::start().await;
    let file = flights_file();
    let lines =
        holm(node.url(), &["import", "--dry-run", "--flights", file.to_str().unwrap()]).await;
    let first: Value =
        serde_json::from_slice(lines.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!(
        first,
        json!({"type": "airport", "id": "DTW", "command": "depart", "key": "flight-00001-depart",
            "body": {"at": "2001/01/01 00:47", "delay": 66, "distance": 1750, "to": "LAS"}})
    );
    let dir = tempfile::tempdir().unwrap();
    let ndjson = dir.path().join("flights.ndjson");
    std::fs::write(&ndjson, &lines.stdout).unwrap();
    let report = document(&holm(node.url(), &["import", ndjson.to_str().unwrap()]).await);
    assert_eq!(report["accepted"], 20_000, "{report}");
    assert_totals(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_are_named_and_the_others_imported() {
    let node = OneNode::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bank.ndjson");
    let line = |command: &str, body: Value, key: &str| {
        json!({"type": "account", "id": "a", "command": command, "body": body, "key": key})
            .to_string()
    };
    let lines = [
        line("open", json!({"owner": "ada"}), "1"),
        "{".to_owned(),
        line("deposit", json!({"amount": 5}), "2"),
        line("withdraw", json!({"amount": 9}), "3"),
        line("depositt", json!({"amount": 5}), "4"),
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let output = holm(node.url(), &["import", path.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let report = document(&output);
    assert_eq!((&report["accepted"], &report["rejected"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!((&report["failed"], &report["bad_lines"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!((&report["bad"][0]["line"], &report["failures"][0]["line"]), (&json!(2), &json!(5)));
    node.stop().await;
}
