//! Projections through the management HTTP and by the verb, on a node that is a process with the views of the demo domains.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holm_console::node::ReadyLine;
use reqwest::blocking::Client;
use serde_json::{Value, json};

struct Node {
    child: Child,
    url: String,
    http: Client,
}

impl Node {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holm"))
            .arg("node")
            .current_dir(dir)
            .env_clear()
            .envs([("HOLM_HTTP__BIND", "127.0.0.1:0"), ("HOLM_NODE__NAME", "islet")])
            .env("HOLM_VIEWS__DIR", dir.join("views"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: ReadyLine = serde_json::from_str(&line).unwrap();
        Self { child, url: ready.http, http: Client::builder().no_proxy().build().unwrap() }
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.http.post(format!("{}/api/v1{path}", self.url)).json(body).send();
        let response = response.unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    fn get(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.url)).send().unwrap().text().unwrap()
    }

    fn books(&self) -> Value {
        let list: Value = serde_json::from_str(&self.get("/api/v1/projections")).unwrap();
        let rows = list["projections"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["bank-books", "flight-delays"]);
        rows[0].clone()
    }

    /// Waits until the row of the books is as wanted.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let books = self.books();
            if wanted(&books) {
                return books;
            }
            assert!(Instant::now() < end, "{books}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn deposit(&self, amount: u64) {
        let path = "/entities/account/alice/commands/deposit";
        assert_eq!(self.post(path, &json!({ "amount": amount })).0, 200);
    }

    fn act(&self, order: &str) -> (u16, Value) {
        self.post(&format!("/projections/bank-books:{order}"), &json!({}))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Law O8: shown, paused over a kill, resumed and rebuilt; the figures follow, and the verb prints them.
#[test]
fn views_are_shown_paused_resumed_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let open = json!({ "owner": "a" });
    assert_eq!(node.post("/entities/account/alice/commands/open", &open).0, 200);
    node.deposit(5);
    let books = node.until(|books| books["position"] == 2);
    assert_eq!((&books["lag_events"], &books["head"]), (&json!(0), &json!(2)));
    assert_eq!((&books["state"], &books["node"]), (&json!("running"), &json!("islet")));

    let (status, paused) = node.act("pause");
    assert_eq!((status, &paused["state"]), (200, &json!("paused")));
    node.deposit(7);
    let books = node.until(|books| books["lag_events"] == 1);
    assert!(books["lag_seconds"].as_f64().unwrap() >= 0.0);
    let metrics = node.get("/metrics");
    for figure in [
        r#"holm_projection_lag_events{projection="bank-books"} 1"#,
        r#"holm_projection_events_total{projection="bank-books",outcome="handled"} 2"#,
        r#"holm_projection_lag_time_seconds{projection="bank-books"}"#,
    ] {
        assert!(metrics.contains(figure), "{figure} in {metrics}");
    }
    let (status, refused) = node.act("rebuild");
    assert_eq!((status, &refused["type"]), (409, &json!("urn:holm:problem:projection-refused")));
    assert_eq!(node.act("dance").0, 404);
    let (status, retried) = node.act("retry-parked");
    assert_eq!((status, &retried["outcome"]), (200, &json!("0 handled, 0 stay parked")));
    let (status, refused) = node.act("skip-failed");
    assert_eq!((status, &refused["type"]), (409, &json!("urn:holm:problem:projection-refused")));
    assert!(refused["detail"].as_str().unwrap().contains("did not stop at a record"));
    assert_eq!(node.post("/projections/nobody:pause", &json!({})).0, 404);
    drop(node);

    let node = Node::start(dir.path());
    let books = node.until(|books| books["state"] == "paused");
    assert_eq!((&books["position"], &books["lag_events"]), (&json!(2), &json!(1)));
    assert_eq!(node.act("resume").0, 200);
    node.until(|books| books["lag_events"] == 0 && books["state"] == "running");
    assert_eq!(node.act("rebuild").0, 200);
    node.until(|books| books["rebuild"].is_null() && books["lag_events"] == 0);

    a_record_is_left_out(&node);
    the_verb_shows_the_same(&node, dir.path());
}

/// What the books cannot hold is left out, and nobody need look for it.
fn a_record_is_left_out(node: &Node) {
    let rich = "/entities/account/rich/commands";
    assert_eq!(node.post(&format!("{rich}/open"), &json!({ "owner": "Croesus" })).0, 200);
    assert_eq!(
        node.post(&format!("{rich}/deposit"), &json!({ "amount": i64::MAX as u64 + 1 })).0,
        200
    );
    node.until(|books| books["set_aside"] == 1 && books["lag_events"] == 0);
    let end = Instant::now() + Duration::from_secs(20);
    let parked = loop {
        let failures: Value = serde_json::from_str(&node.get("/api/v1/failures")).unwrap();
        let rows = failures["failures"].as_array().unwrap();
        if let Some(row) = rows.iter().find(|row| row["kind"] == "record_parked") {
            break row.clone();
        }
        assert!(Instant::now() < end, "{failures}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(parked["subject"], json!("projection bank-books"), "{parked}");
}

fn the_verb_shows_the_same(node: &Node, dir: &Path) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.current_dir(dir).args(["projections", "--url", &node.url]).args(arguments);
        command.env_remove("HOLM_HTTP__TOKEN").output().unwrap()
    };
    let listed = run(&["--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let (row, books) = (&listed["projections"][0], node.books());
    // The rate fades from one question to the next.
    for field in ["name", "node", "state", "position", "head", "lag_events", "set_aside"] {
        assert_eq!(row[field], books[field], "{field}");
    }
    let shown = String::from_utf8(run(&["pause", "bank-books"]).stdout).unwrap();
    let place = format!("{} of {}", books["position"], books["head"]);
    assert!(shown.contains("paused") && shown.contains(&place), "{shown}");
    let shown = String::from_utf8(run(&["retry-parked", "bank-books"]).stdout).unwrap();
    assert!(shown.contains("0 handled, 1 stay parked"), "{shown}");
    let refused = run(&["skip-failed", "bank-books"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let resumed = run(&["resume", "bank-books"]);
    let shown = String::from_utf8(resumed.stdout).unwrap();
    assert!(resumed.status.success() && shown.contains("bank-books"), "{shown}");
    node.until(|books| books["state"] == "running");
    let unknown = run(&["resume", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}
