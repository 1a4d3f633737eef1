//! A node as a process of its own: its ready line, its metrics, its signals, and what it refuses to start with.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use holm_console::node::ReadyLine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::blocking::Client;
use serde_json::{Value, json};

/// The program with no variable of this process.
fn program(dir: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
    command.arg("node").current_dir(dir).env_clear().env("HOLM_HTTP__BIND", "127.0.0.1:0");
    command.envs(variables.iter().copied());
    command
}

struct Node {
    child: Child,
    ready: ReadyLine,
    http: Client,
}

impl Node {
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    fn start_with(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = program(dir, variables)
            .env("HOLM_NODE__NAME", "islet")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, ready, http: Client::builder().no_proxy().build().unwrap() }
    }

    fn get(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.ready.http)).send().unwrap().text().unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.ready.http)).json(body);
        let response = request.send().unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    fn terminate(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DEPOSIT: &str = "/api/v1/entities/account/alice/commands/deposit";

#[test]
fn a_node_says_where_it_is_and_stops_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    assert_eq!((node.ready.name.as_str(), node.ready.id), ("islet", 1));
    assert_eq!(node.ready.pid, node.child.id());
    let opened = node.post("/api/v1/entities/account/alice/commands/open", &json!({"owner": "a"}));
    assert_eq!((opened.0, &opened.1["served_by"]), (200, &json!("islet")));
    assert_eq!(node.post(DEPOSIT, &json!({"amount": 5})).0, 200);
    assert_eq!(node.terminate(), Some(0));
    // Promise G1: what was acknowledged is there after a restart.
    let node = Node::start(dir.path());
    assert_eq!(node.post(DEPOSIT, &json!({"amount": 5})).1["reply"], 10);
}

#[test]
fn a_node_that_left_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path());
    let (status, left) = node.post("/api/v1/members/islet:leave", &json!({}));
    assert_eq!((status, &left["state"]), (200, &json!("left")));
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

/// Histograms that can be added over nodes, counters that say so, and no label that grows with the data.
#[test]
fn metrics_follow_their_rules() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.post("/api/v1/entities/account/alice/commands/open", &json!({"owner": "a"}));
    node.post(DEPOSIT, &json!({"amount": 5}));
    let text = (0..100)
        .map(|_| node.get("/metrics"))
        .find(|text| {
            let waits = !text.contains("command_type=\"deposit\"");
            if waits {
                // Shards publish with their ticks, some ten a second.
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            !waits
        })
        .expect("the duration of the second command is published");
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_ne!(kind, "summary", "{name} cannot be added over nodes");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(name.starts_with("holm_"), "{name}");
        }
        for forbidden in ["alice", "shard=", "entity_id=", "correlation"] {
            assert!(line.starts_with('#') || !line.contains(forbidden), "{line}");
        }
    }
    for expected in [
        "holm_shard_count{state=\"serving\"} 32",
        "holm_cluster_member_count{state=\"up\"} 1",
        "holm_entity_commands_total{outcome=\"ok\"} 2",
        "holm_journal_append_events_total 2",
        "holm_journal_append_duration_seconds_bucket{outcome=\"ok\",le=\"0.0005\"}",
        "holm_entity_command_duration_seconds_bucket{entity_type=\"account\",command_type=\"deposit\"",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let fsyncs = text.lines().find_map(|line| line.strip_prefix("holm_journal_fsyncs_total "));
    assert!(fsyncs.unwrap().parse::<u64>().unwrap() >= 2, "every acknowledged event was synced");
}

#[test]
fn wrong_settings_are_named_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let told = |variables: &[(&str, &str)]| -> (Output, String) {
        let output = program(dir.path(), variables).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, text)
    };
    let (output, text) = told(&[("HOLM_CLUSTER__REPLICAS", "3")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("HOLM_CLUSTER__REPLICAS is no setting of Holm"), "{text}");
    assert!(text.contains("did you mean HOLM_CLUSTER__REPLICATION?"), "{text}");
    let (output, text) = told(&[("HOLM_HTTP__BIND", "7070")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.starts_with("error: HOLM_HTTP__BIND cannot be read\ncause: `7070`"), "{text}");
    let (output, text) = told(&[("HOLM_HTTP__BIND", "0.0.0.0:0")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("needs a token there"), "{text}");
    assert!(output.stdout.is_empty());
    let (output, text) = told(&[("HOLM_HTTP__TOKEN__FILE", "/nowhere/token")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("HOLM_HTTP__TOKEN__FILE names /nowhere/token"), "{text}");
    let (output, text) = told(&[("HOLM_CLUSTER__SECRET__FILE", "/nowhere/secret")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("HOLM_CLUSTER__SECRET__FILE names /nowhere/secret"), "{text}");
}

#[test]
fn a_token_in_a_file_guards_the_node_and_lets_the_command_line_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let variables = [("HOLM_HTTP__TOKEN__FILE", file.to_str().unwrap())];
    let node = Node::start_with(dir.path(), &variables);
    let request = || node.http.get(format!("{}/api/v1/members", node.ready.http));
    assert_eq!(request().send().unwrap().status().as_u16(), 401);
    let allowed = request().bearer_auth("0123456789abcdef").send().unwrap();
    assert_eq!(allowed.status().as_u16(), 200);
    let status = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.args(["status", "--url", &node.ready.http]).env_clear();
        command.envs(variables.iter().copied()).output().unwrap()
    };
    assert_eq!(status(&[]).status.code(), Some(1));
    let let_in = status(&variables);
    assert!(let_in.status.success(), "{let_in:?}");
    assert_eq!(node.terminate(), Some(0));
}
