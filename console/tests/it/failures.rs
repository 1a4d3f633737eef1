//! Nodes that die, stop and come back under load; afterwards the ledger must hold (G1, G2, G4).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::local_cluster::{LocalCluster, PATIENCE, is_running};

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

/// Promise G3, with real processes: a node that slept while others took its shards over finds, when it wakes, commands and questions that were sent to it
/// meanwhile. None is answered by what it still holds in memory, and what it takes, it takes once.
#[test]
fn a_paused_node_is_replaced_and_cannot_write_when_it_wakes() {
    let cluster = LocalCluster::start(&LOAD);
    cluster.wait_for_load();
    let mine = accounts_led_by_the_first(&cluster, 4);
    let paused = cluster.json(&["pause", "holm-1"]);
    report("pause", &paused);
    assert_eq!((&paused["holds"], &paused["settled"]), (&Value::Bool(true), &Value::Bool(true)));
    for entity in &mine {
        let deposit = json!({ "amount": 10 });
        let (status, answer) = cluster.send(1, entity, "deposit", &deposit, "asleep").unwrap();
        assert_eq!((status, &answer["reply"]), (200, &json!(11)), "{answer}");
    }
    // Its kernel takes them, it does not: they are the first that it sees when it wakes.
    let waiting: Vec<_> = mine
        .iter()
        .map(|entity| {
            let question = raw(&cluster, entity, "balance", "{}", "question");
            (question, raw(&cluster, entity, "deposit", r#"{"amount":100}"#, "woken"))
        })
        .collect();
    let resumed = cluster.json(&["resume", "holm-1"]);
    report("resume", &resumed);
    assert_eq!((&resumed["holds"], &resumed["settled"]), (&Value::Bool(true), &Value::Bool(true)));
    for (entity, (question, deposit)) in mine.iter().zip(waiting) {
        let (status, told) = answer_to(question);
        assert!(status != 200 || told["reply"].as_u64() >= Some(11), "a stale read: {told}");
        let (status, taken) = answer_to(deposit);
        assert!(status != 200 || taken["reply"] == 111, "{taken}");
        assert!(status == 200 || taken["outcome"].is_string(), "{taken}");
        // Whatever it said: with the same key it happens once.
        let deposit = json!({ "amount": 100 });
        let again = cluster.send_until_answered(entity, "deposit", &deposit, "woken");
        assert_eq!(again["reply"], 111, "{entity}: {again}, after {taken}");
        let balance = cluster.send_until_answered(entity, "balance", &json!({}), "after");
        assert_eq!(balance["reply"], 111, "{entity}");
    }
    cluster.assert_ledger_holds(50);
}

/// A node as `holm status` shows it.
fn shown(cluster: &LocalCluster, name: &str) -> Value {
    let status = cluster.json(&["status"]);
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap().clone()
}

/// With two of three gone nobody can acknowledge: callers are told so, with what became of their command, and once a majority is back all goes on.
#[test]
fn without_a_majority_callers_are_told_and_service_resumes_with_it() {
    let cluster = LocalCluster::start(&["--no-load"]);
    cluster.open("account/a");
    for node in ["holm-2", "holm-3"] {
        cluster.json(&["kill", node, "--no-watch"]);
    }
    cluster.wait_until("two are gone", |it| {
        let status = it.status();
        let gone = status["nodes"].as_array().unwrap().iter().filter(|node| node["pid"] == 0);
        gone.count() == 2
    });
    let deposit = json!({ "amount": 1 });
    // At first the last one may still take a command and wait for the others until the deadline; then it knows that nobody leads.
    cluster.wait_until("callers are told at once", |it| {
        let told = it.send(0, "account/a", "deposit?timeout_ms=3000", &deposit, "alone");
        let (status, problem) = told.expect("an answer comes, at the deadline at the latest");
        assert!([503, 504].contains(&status), "{problem}");
        let (kind, outcome) = (problem["kind"].as_str(), problem["outcome"].as_str());
        assert!(matches!(kind, Some("retry" | "back_off")), "{problem}");
        assert!(matches!(outcome, Some("not_applied" | "unknown")), "{problem}");
        (status, kind, outcome) == (503, Some("back_off"), Some("not_applied"))
    });
    for node in ["holm-2", "holm-3"] {
        cluster.json(&["restart", node, "--no-watch"]);
    }
    let answer = cluster.send_until_answered("account/a", "deposit", &deposit, "alone");
    assert_eq!(answer["reply"], 1, "however often it was tried: {answer}");
}

/// Opens accounts whose shards the first node leads, each with a balance of 1.
fn accounts_led_by_the_first(cluster: &LocalCluster, wanted: usize) -> Vec<String> {
    let view = cluster.get(0, "/cluster");
    let first = cluster.document["nodes"][0]["id"].as_u64();
    let led = |shard: &Value| {
        let shards = view["shards"].as_array().unwrap();
        shards.iter().any(|it| it["id"] == *shard && it["leader"].as_u64() == first)
    };
    let names = (0..).map(|number| format!("account/fence-{number}"));
    let mine = names.filter(|entity| {
        cluster.open(entity);
        let one = json!({ "amount": 1 });
        led(&cluster.send_until_answered(entity, "deposit", &one, "first")["shard"])
    });
    mine.take(wanted).collect()
}

/// Sends a command to the first node over a connection of its own, and waits for nothing.
fn raw(cluster: &LocalCluster, entity: &str, command: &str, body: &str, key: &str) -> TcpStream {
    let address = cluster.http(0).trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "POST /api/v1/entities/{entity}/commands/{command}?timeout_ms=20000 HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The status and the document of the answer.
fn answer_to(mut stream: TcpStream) -> (u16, Value) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
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
