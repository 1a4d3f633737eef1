//! Operations: an order over failures goes on without its client, says how far it is to whoever asks, and is honest about its end (promise G7).

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Holm, NoRejection};
use holm_console::management::{self, HttpLimits, HttpOptions, HttpServer};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command as Process;

use super::one_node::answer;
use crate::local_cluster::LocalCluster;

/// What stands in the way of a command; each test has a gate of its own, by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Gate {
    /// Who comes falls.
    #[default]
    Broken,
    /// Who comes waits.
    Closed,
    /// Somebody waits.
    WaitedAt,
    Open,
}

static GATES: Mutex<BTreeMap<u32, Gate>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

fn set(number: u32, gate: Gate) {
    GATES.lock().unwrap().insert(number, gate);
    CHANGED.notify_all();
}

async fn somebody_waits_at(number: u32) {
    while GATES.lock().unwrap().get(&number) != Some(&Gate::WaitedAt) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Walker {}

#[derive(Event, Serialize, Deserialize)]
enum WalkerEvent {
    Passed,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u32)]
struct Pass {
    gate: u32,
}

impl Entity for Walker {
    const TYPE: &'static str = "walker";
    type Event = WalkerEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &WalkerEvent) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Pass>();
    }
}

impl Handle<Pass> for Walker {
    fn handle(
        &self,
        Pass { gate }: Pass,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u32>, NoRejection> {
        let mut gates = GATES.lock().unwrap();
        let stands = gates.get(&gate).copied().unwrap_or_default();
        if stands == Gate::Broken {
            drop(gates);
            panic!("the gate is broken");
        }
        if stands == Gate::Closed {
            gates.insert(gate, Gate::WaitedAt);
        }
        // No longer than a test may take, so that one that failed ends.
        let shut = |gates: &mut BTreeMap<u32, Gate>| gates.get(&gate) != Some(&Gate::Open);
        drop(CHANGED.wait_timeout_while(gates, Duration::from_secs(120), shut).unwrap());
        Ok(cx.persist(WalkerEvent::Passed).reply(move |_| gate))
    }
}

/// A node where some walkers failed at a gate that is closed by now.
struct Node {
    holm: Holm,
    server: HttpServer,
    http: Client,
    gate: u32,
}

impl Node {
    async fn start(gate: u32, walkers: u64, limits: HttpLimits) -> Self {
        let builder = Holm::builder().entity::<Walker>().in_memory().shards(2).arbiters(1);
        let holm = builder.start().await.unwrap();
        let bind = ([127, 0, 0, 1], 0).into();
        let options = HttpOptions { bind, limits, ..HttpOptions::default() };
        let server = management::serve(holm.clone(), options).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        let node = Self { holm, server, http, gate };
        for walker in 0..walkers {
            let path = format!("/api/v1/entities/walker/w{walker}/commands/pass");
            let (status, body) = answer(node.post(&path, &json!({ "gate": gate }))).await;
            assert_eq!(status, 500, "{body}");
        }
        while node.open().await != walkers {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        set(gate, Gate::Closed);
        node
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.server.url())).json(body)
    }

    fn order(&self, query: &str) -> RequestBuilder {
        let path = format!("/api/v1/failures:retry{query}");
        self.post(&path, &json!({ "filter": "walker panicked" }))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.server.url()))).await
    }

    /// How many failures of walkers stand open.
    async fn open(&self) -> u64 {
        let (_, count) = self.get("/api/v1/failures:count").await;
        count["open"]["panicked"].as_u64().unwrap_or(0)
    }

    async fn stop(self) {
        set(self.gate, Gate::Open);
        self.holm.shutdown().await;
        self.server.shutdown(Duration::from_secs(5)).await;
    }
}

/// Promise G7: a client that gives up loses its answer and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_on_without_its_client() {
    let node = Node::start(1, 3, HttpLimits::default()).await;
    let order = tokio::spawn(node.order("?wait_ms=60000").send());
    somebody_waits_at(1).await;
    order.abort();
    assert!(order.await.unwrap_err().is_cancelled(), "nobody waits any more");
    set(1, Gate::Open);
    let settled = async {
        while node.open().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.expect("it goes on");
    node.stop().await;
}

/// Promise G7: an order is answered at once with an operation, which tells page by page what became of each step, and where it is not known, why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_tells_how_far_it_is() {
    let limits = HttpLimits { page_rows: 2, ..HttpLimits::default() };
    let node = Node::start(2, 3, limits).await;
    let response = node.order("").send().await.unwrap();
    assert_eq!(response.status(), 202);
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let begun: Value = response.json().await.unwrap();
    assert_eq!(path, format!("/api/v1/operations/{}", begun["id"].as_str().unwrap()));
    assert_eq!((&begun["state"], &begun["meant"]), (&json!("running"), &json!(3)), "{begun}");
    assert_eq!((&begun["order"], &begun["filter"]), (&json!("retry"), &json!("walker panicked")));
    let (status, running) = node.get(&path).await;
    assert_eq!((status, &running["next"]), (200, &json!(0)), "{running}");
    assert!(running["ended"].is_null() && running["handled"] == json!([]), "{running}");

    set(2, Gate::Open);
    let (_, first) = node.get(&format!("{path}?wait_ms=60000")).await;
    assert_eq!((&first["state"], &first["outcomes"]), (&json!("done"), &json!({ "done": 3 })));
    assert_eq!((first["handled"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let (_, last) = node.get(&format!("{path}?after=2")).await;
    assert_eq!(last["handled"].as_array().unwrap().len(), 1, "{last}");
    assert!(last["next"].is_null() && last["ended"].is_string(), "{last}");
    let told = [&first["handled"][0], &first["handled"][1], &last["handled"][0]];
    let subject = |handled: &&Value| handled["failure"]["subject"].as_str().unwrap().to_owned();
    let mut subjects: Vec<_> = told.iter().map(subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["walker/w0", "walker/w1", "walker/w2"], "each once");

    let id = node.holm.facts().id.0;
    let (status, gone) = node.get(&format!("/api/v1/operations/{id}-0123456789abcdef")).await;
    assert_eq!((status, &gone["type"]), (404, &json!("urn:holm:problem:operation-gone")));
    assert!(gone["detail"].as_str().unwrap().contains("as long as their node"), "{gone}");
    let (status, elsewhere) = node.get("/api/v1/operations/999-0123456789abcdef").await;
    assert_eq!((status, &elsewhere["type"]), (404, &json!("urn:holm:problem:operation-elsewhere")));
    assert!(elsewhere["detail"].as_str().unwrap().contains("node 999"), "{elsewhere}");
    assert_eq!(node.get(&format!("{path}?wait_ms=60001")).await.0, 400);
    node.stop().await;
}

/// Promise G7: of an operation of another node each node says where it is.
#[test]
fn an_operation_of_another_node_is_found_there() {
    let cluster = LocalCluster::start(&[]);
    let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let order = http.post(format!("{}/api/v1/failures:skip?wait_ms=60000", cluster.http(0)));
    let order = order.json(&json!({ "filter": "nobody/at-all" })).send().unwrap();
    let order: Value = order.json().unwrap();
    let path = format!("/operations/{}", order["id"].as_str().unwrap());
    let elsewhere = cluster.get(1, &path);
    assert_eq!(elsewhere["type"], "urn:holm:problem:operation-elsewhere", "{elsewhere}");
    assert!(elsewhere["detail"].as_str().unwrap().contains("holm-1"), "{elsewhere}");
    let there = elsewhere["try"].as_str().unwrap().strip_prefix("GET ").unwrap();
    assert_eq!(there, format!("{}/api/v1{path}", cluster.http(0)));
    let found: Value = http.get(there).send().unwrap().json().unwrap();
    assert_eq!((&found["id"], &found["state"]), (&order["id"], &json!("done")), "{found}");
}

/// Promise G7: an operation that its node cannot bring to an end says so, and what has no outcome stays open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_ends_early_says_so() {
    let longest_operation = Duration::from_millis(50);
    let node = Node::start(3, 1, HttpLimits { longest_operation, ..HttpLimits::default() }).await;
    let (status, late) = answer(node.order("?wait_ms=60000")).await;
    assert_eq!((status, &late["state"]), (200, &json!("out_of_time")), "{late}");
    assert_eq!((&late["meant"], &late["outcomes"]), (&json!(1), &json!({})), "{late}");
    set(3, Gate::Open);
    assert_eq!(node.open().await, 1, "nobody wrote down that it was settled");
    node.stop().await;

    let node = Node::start(4, 1, HttpLimits::default()).await;
    let order = tokio::spawn(answer(node.order("?wait_ms=60000")));
    somebody_waits_at(4).await;
    node.server.shutdown(Duration::from_secs(60)).await;
    let (status, stopped) = order.await.unwrap();
    assert_eq!((status, &stopped["state"]), (200, &json!("stopped")), "{stopped}");
    set(4, Gate::Open);
    node.holm.shutdown().await;
}

/// Promise G9: orders that are under way are bounded, and who comes too late is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_at_once_are_bounded() {
    let node = Node::start(5, 1, HttpLimits { concurrent_operations: 0, ..HttpLimits::default() });
    let node = node.await;
    let (status, refused) = answer(node.order("")).await;
    assert_eq!((status, &refused["kind"]), (503, &json!("back_off")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("concurrent_operations"), "{refused}");
    assert_eq!(node.open().await, 1);
    node.stop().await;
}

/// Promise G7: the verb says what it follows when that takes its time, and follows it to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verb_follows_an_operation() {
    let node = Node::start(6, 3, HttpLimits { page_rows: 1, ..HttpLimits::default() }).await;
    let mut verb = Process::new(env!("CARGO_BIN_EXE_holm"));
    verb.args(["--url", node.server.url(), "failures", "--retry", "walker panicked"]);
    verb.env("LC_ALL", "C.UTF-8").env_remove("HOLM_HTTP__TOKEN").kill_on_drop(true);
    let mut verb = verb.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(verb.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert!(first.contains("retry of 3 failures: operation "), "{first}");
    set(6, Gate::Open);
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push(line);
    }
    assert_eq!(rest.len(), 4, "{rest:?}");
    for walker in ["walker/w0", "walker/w1", "walker/w2"] {
        assert!(rest.iter().any(|line| line.contains(walker)), "{rest:?}");
    }
    assert_eq!(rest[3], "retry: 3 done");
    assert!(verb.wait().await.unwrap().success());
    node.stop().await;
}
