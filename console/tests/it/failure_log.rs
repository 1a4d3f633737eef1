//! `holm failures` and its HTTP: what failed is listed, counted and measured, and each way to act on it says what became of each failure (promise G7).

use std::process::Stdio;
use std::time::Duration;

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Holm, Supervision};
use holm_console::api_client::{ApiClient, ClientOptions, StreamWish};
use holm_console::management::{self, HttpOptions, HttpServer};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command as Process};

use super::one_node::{answer, read};
use super::verbs::holm;

/// An entity that panics on thirteen, unless it is full.
#[derive(Default, Serialize, Deserialize)]
struct Brittle {
    total: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum BrittleEvent {
    Added { amount: u64 },
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Add {
    amount: u64,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("it holds a hundred")]
struct Full {}

impl Entity for Brittle {
    const TYPE: &'static str = "brittle";
    const SUPERVISION: Supervision = Supervision::quarantine(2, Duration::from_secs(60));
    type Event = BrittleEvent;
    type Rejection = Full;

    fn apply(&mut self, BrittleEvent::Added { amount }: &BrittleEvent) {
        self.total += amount;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Add>();
    }
}

impl Handle<Add> for Brittle {
    fn handle(
        &self,
        Add { amount }: Add,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, Full> {
        if self.total >= 100 {
            return Err(Full {});
        }
        assert_ne!(amount, 13, "thirteen");
        Ok(cx.persist(BrittleEvent::Added { amount }).reply(|brittle| brittle.total))
    }
}

struct Node {
    holm: Holm,
    server: HttpServer,
    http: Client,
}

impl Node {
    async fn start() -> Self {
        let builder = Holm::builder().entity::<Brittle>().in_memory().shards(2).arbiters(1);
        let holm = builder.start().await.unwrap();
        let options = HttpOptions { bind: ([127, 0, 0, 1], 0).into(), ..HttpOptions::default() };
        let server = management::serve(holm.clone(), options).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { holm, server, http }
    }

    async fn add(&self, id: &str, amount: u64) -> (u16, Value) {
        let url = format!("{}/api/v1/entities/brittle/{id}/commands/add", self.server.url());
        answer(self.http.post(url).json(&json!({ "amount": amount }))).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = answer(self.http.get(format!("{}{path}", self.server.url()))).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn post(&self, act: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1/failures:{act}?wait_ms=60000", self.server.url());
        read(self.http.post(url).json(body).send().await.unwrap()).await
    }

    /// An entity in quarantine, as the failure log has it.
    async fn break_down(&self, id: &str) {
        while self.add(id, 13).await.0 != 409 {}
        let wanted = format!("brittle/{id}");
        loop {
            let list = self.get(&format!("/api/v1/failures?filter={wanted}")).await;
            if list["failures"][0]["standing"] == "quarantined" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.holm.shutdown().await;
        self.server.shutdown(Duration::from_secs(5)).await;
    }
}

/// Promise G7: over HTTP, from the failure to the entity that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_listed_and_handled_over_http() {
    let node = Node::start().await;
    node.add("a", 5).await;
    node.break_down("a").await;
    let (status, problem) = node.add("a", 1).await;
    assert_eq!((status, &problem["kind"]), (409, &json!("give_up")), "{problem}");
    assert_eq!(problem["outcome"], "not_applied");
    assert!(problem["try"].as_str().unwrap().contains("holm failures"), "{problem}");

    let list = node.get("/api/v1/failures").await;
    let failure = &list["failures"][0];
    assert_eq!((&failure["subject"], &failure["kind"]), (&json!("brittle/a"), &json!("panicked")));
    assert_eq!((&failure["count"], &failure["open"]), (&json!(2), &json!(true)));
    assert!(failure["causes"][0].as_str().unwrap().contains("thirteen"), "{failure}");
    assert_eq!(failure["command"]["name"], "add");
    let count = node.get("/api/v1/failures:count").await;
    assert_eq!((&count["open"]["panicked"], &count["quarantined"]), (&json!(1), &json!(1)));

    let (_, dry) = node.post("resume", &json!({ "filter": "all", "dry_run": true })).await;
    assert_eq!((&dry["outcomes"]["meant"], &dry["dry_run"]), (&json!(1), &json!(true)), "{dry}");
    assert!(dry["id"].is_null(), "a dry run is over at once: {dry}");
    assert_eq!(node.add("a", 1).await.0, 409, "a dry run does nothing");
    let (status, done) = node.post("resume", &json!({ "filter": "brittle" })).await;
    assert_eq!((status, &done["state"]), (200, &json!("done")), "{done}");
    assert_eq!(done["handled"][0]["outcome"], "done", "{done}");
    assert_eq!(node.add("a", 1).await.1["reply"], 6);
    let settled = node.get("/api/v1/failures?filter=brittle/a").await;
    assert_eq!(settled["failures"][0]["settled"], "resumed", "{settled}");

    // Which is another word for `skip`.
    node.break_down("b").await;
    let (status, done) = node.post("discard", &json!({ "filter": "brittle/b" })).await;
    assert_eq!((status, &done["order"]), (200, &json!("skip")), "{done}");
    let settled = node.get("/api/v1/failures?filter=brittle/b").await;
    assert_eq!(settled["failures"][0]["settled"], "skipped", "{settled}");

    let (status, problem) = node.post("retry", &json!({ "filter": "one two" })).await;
    assert_eq!((status, &problem["kind"]), (400, &json!("fix_request")), "{problem}");
    assert_eq!(node.post("retry", &json!({})).await.0, 400, "a filter must be said");
    node.stop().await;
}

/// Runs the verb against a node; its exit code, and what it wrote.
async fn run(node: &Node, arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<_> = ["--url", node.server.url()].iter().chain(arguments).copied().collect();
    let output = holm(&arguments).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The verb as it follows failures, and the lines that it prints.
struct Followed {
    lines: Lines<BufReader<ChildStdout>>,
    /// Killed with it.
    _verb: Child,
}

impl Followed {
    fn start(node: &Node, arguments: &[&str]) -> Self {
        let mut command = Process::new(env!("CARGO_BIN_EXE_holm"));
        command.args(["--url", node.server.url(), "failures", "--follow"]).args(arguments);
        command.env("LC_ALL", "C.UTF-8").env_remove("HOLM_HTTP__TOKEN").kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _verb: child }
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("it goes on")
    }
}

/// Promise G7: the verb follows those failures that are meant, and what is done about them, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verb_follows_what_is_meant() {
    let node = Node::start().await;
    let (code, _, error) = run(&node, &["failures", "one two", "--follow"]).await;
    assert!(code == 2 && error.contains("one two"), "{error}");
    let mut followed = Followed::start(&node, &["brittle/a"]);
    // When it has begun nobody says, so something fails until it is seen.
    let (mut number, mut line) = (0, None);
    while line.is_none() {
        number += 1;
        node.break_down(&format!("b{number}")).await;
        node.break_down(&format!("a{number}")).await;
        let soon = tokio::time::timeout(Duration::from_millis(200), followed.line());
        line = soon.await.ok();
    }
    let line = line.unwrap();
    assert!(line.contains("brittle/a") && line.contains("thirteen"), "{line}");
    node.break_down("b-last").await;
    run(&node, &["failures", "--resume", "brittle/b-last"]).await;
    let meant = format!("brittle/a{number}");
    let (code, resumed, _) = run(&node, &["failures", "--resume", &meant]).await;
    assert!(code == 0 && resumed.contains("resume: 1 done"), "{resumed}");
    let settled = loop {
        let line = followed.line().await;
        assert!(line.contains("brittle/a"), "{line}");
        if line.contains("resumed") {
            break line;
        }
    };
    assert!(settled.contains(&meant) && settled.contains("panicked"), "{settled}");
    node.stop().await;
}

/// Promise G7: a command that is asked again and refused has its answer; where there is nothing to do, that is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verb_says_what_became_of_each() {
    let node = Node::start().await;
    node.add("a", 13).await;
    while node.get("/api/v1/failures?filter=brittle/a").await["failures"][0].is_null() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (code, nothing, _) = run(&node, &["failures", "--resume", "brittle/a"]).await;
    assert!(code == 0 && nothing.contains("1 nothing"), "{nothing}");
    assert!(nothing.contains("in no quarantine"), "{nothing}");
    assert_eq!(node.add("a", 100).await.0, 200);
    let (code, rejected, _) = run(&node, &["failures", "--retry", "brittle/a"]).await;
    assert!(code == 0 && rejected.contains("1 rejected"), "{rejected}");
    let settled = node.get("/api/v1/failures?filter=brittle/a").await;
    assert_eq!(settled["failures"][0]["settled"], "retried", "an answer settles it: {settled}");
    node.stop().await;
}

/// Promise G7: the verb lists, asks before it gives commands up, and says by its exit code whether everything went well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verb_shows_and_handles_failures() {
    let node = Node::start().await;
    let run = async |arguments: &[&str]| run(&node, arguments).await;
    let (code, none, _) = run(&["failures"]).await;
    assert!(code == 0 && none.contains("no failures"), "{none}");
    node.break_down("a").await;
    node.break_down("b").await;

    let (code, list, _) = run(&["failures", "brittle/a"]).await;
    assert!(code == 0 && list.contains("brittle/a") && !list.contains("brittle/b"), "{list}");
    assert!(list.contains("quarantined") && list.contains("thirteen"), "{list}");
    let (_, status, _) = run(&["status"]).await;
    assert!(status.contains("2 failures open, 2 entities in quarantine"), "{status}");
    let (code, _, error) = run(&["failures", "--skip", "all"]).await;
    assert!(code == 2 && error.contains("--yes"), "{error}");
    let (code, dry, _) = run(&["failures", "--skip", "all", "--dry-run"]).await;
    assert!(code == 0 && dry.contains("2 meant") && dry.contains("dry run"), "{dry}");
    let (code, retried, _) = run(&["failures", "--retry", "brittle/a"]).await;
    assert!(code == 1 && retried.contains("1 failed"), "it panics again: {retried}");
    let (code, skipped, _) = run(&["--json", "failures", "--skip", "brittle", "--yes"]).await;
    let skipped: Value = serde_json::from_str(&skipped).unwrap();
    assert_eq!((code, &skipped["outcomes"]["done"]), (0, &json!(2)), "{skipped}");
    assert_eq!(node.add("b", 1).await.0, 200);
    let (code, _, error) = run(&["failures", "--retry", "a b"]).await;
    assert!(code != 0 && error.contains("try:"), "{error}");
    node.stop().await;
}

/// Promise G7: who follows the failures sees each as it comes, and what is done about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_followed_as_they_come() {
    let node = Node::start().await;
    let url = node.server.url().to_owned();
    let client = ApiClient::new(&url, ClientOptions::default()).unwrap();
    let query = vec![("topics", "failures".to_owned()), ("from", "beginning".to_owned())];
    let mut stream = client.stream(&StreamWish { query, last_id: None }).await.unwrap();
    node.add("b", 13).await;
    // A machine that stalls adds the fact of a slow handler.
    let failed = loop {
        let failed = stream.next().await.unwrap().unwrap();
        let failed: Value = serde_json::from_str(&failed.data).unwrap();
        if failed["data"]["fact"]["kind"] == "panicked" {
            break failed;
        }
    };
    assert_eq!(failed["type"], "holm.holm-failures.failed.v1");
    assert_eq!(failed["data"]["fact"]["subject"]["Entity"], json!(["brittle", "b"]), "{failed}");
    node.stop().await;
}
