//! A local cluster for one test: its own directory, its own ports, gone at the end.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Clusters and benches at a time. Three unoptimised processes and a load generator wait for each other half of the time; more than two such clusters would
/// fill a small machine.
const AT_A_TIME: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// One of [`AT_A_TIME`].
pub(crate) struct Turn;

/// Waits until few enough clusters and benches of other tests are running.
pub(crate) fn take_turn() -> Turn {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let may_not = |running: &mut usize| *running >= AT_A_TIME;
    *ENDED.wait_while(running, may_not).unwrap_or_else(PoisonError::into_inner) += 1;
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Longest wait for a state. Generous: it only bounds a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster.
pub(crate) struct LocalCluster {
    dir: TempDir,
    pub(crate) document: Value,
    _turn: Turn,
}

impl LocalCluster {
    /// Starts one with these further arguments and waits until it serves.
    pub(crate) fn start(args: &[&str]) -> Self {
        let turn = take_turn();
        let dir = TempDir::with_prefix("holm-it-").unwrap();
        let mut all = vec!["dev", "--detach", "--json", "--port-base", "0"];
        all.extend(args);
        let begun = Instant::now();
        let output = holm(dir.path(), &all);
        assert!(output.status.success(), "{}", told(&output));
        println!("the cluster serves after {:.2} s", begun.elapsed().as_secs_f64());
        let document = serde_json::from_slice(&output.stdout).unwrap();
        Self { dir, document, _turn: turn }
    }

    /// The directory that holds `.holm`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `holm` on this cluster.
    pub(crate) fn holm(&self, args: &[&str]) -> Output {
        holm(self.dir(), args)
    }

    /// Runs `holm … --json`, expects it to succeed and gives its document.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let output = self.holm(&all);
        assert!(output.status.success(), "holm {args:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The management HTTP of a node, by its place in the document.
    pub(crate) fn http(&self, index: usize) -> &str {
        self.document["nodes"][index]["http"].as_str().unwrap()
    }

    /// What a node says to a GET of the API.
    pub(crate) fn get(&self, index: usize, path: &str) -> Value {
        let url = format!("{}/api/v1{path}", self.http(index));
        client().get(url).send().unwrap().json().unwrap()
    }

    /// Sends a command over HTTP; `None` when no whole answer came.
    pub(crate) fn send(
        &self,
        index: usize,
        entity: &str,
        command: &str,
        body: &Value,
        key: &str,
    ) -> Option<(u16, Value)> {
        let url = format!("{}/api/v1/entities/{entity}/commands/{command}", self.http(index));
        let client = client();
        let sent = client.post(url).header("Idempotency-Key", key).json(body).send().ok()?;
        let status = sent.status().as_u16();
        Some((status, sent.json().ok()?))
    }

    /// Sends a command until a node answers it with a reply; tries the nodes in turn.
    pub(crate) fn send_until_answered(
        &self,
        entity: &str,
        command: &str,
        body: &Value,
        key: &str,
    ) -> Value {
        let end = Instant::now() + PATIENCE;
        for nth in 0.. {
            if let Some((200, answer)) = self.send(nth % 3, entity, command, body, key) {
                return answer;
            }
            assert!(Instant::now() < end, "{entity} {command} was never answered");
        }
        unreachable!("the loop ends with an answer or a failure")
    }

    /// Opens an account.
    pub(crate) fn open(&self, entity: &str) {
        self.send_until_answered(entity, "open", &json!({ "owner": "test" }), "open");
    }

    /// What the supervisor knows.
    pub(crate) fn status(&self) -> Value {
        self.json(&["dev", "status"])
    }

    /// Waits until the load generator has opened its accounts and sent something at its fixed rate.
    pub(crate) fn wait_for_load(&self) {
        self.wait_until("the load runs", |cluster| {
            let status = cluster.status();
            let last = status["load"]["reports"].as_array().and_then(|it| it.last().cloned());
            last.is_some_and(|it| {
                it["accounts"] == it["accounts_wanted"] && it["total_answered"].as_u64() > Some(200)
            })
        });
    }

    /// Waits for a state.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
            pause();
        }
    }

    /// Reads every shard back and expects that the ledger holds, with at least `least` acknowledged commands.
    pub(crate) fn assert_ledger_holds(&self, least: u64) {
        let verdict = self.json(&["load", "verify"]);
        println!(
            "ledger: {} acknowledged, {} read back, {} missing, {} doubled, {} gaps",
            verdict["acknowledged"],
            verdict["read_back"],
            verdict["missing"],
            verdict["doubled"],
            verdict["gaps"]
        );
        assert_eq!(verdict["problems"], json!([]));
        assert_eq!(verdict["acknowledged"], verdict["read_back"]);
        assert!(verdict["acknowledged"].as_u64() >= Some(least), "{verdict}");
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.holm(&["dev", "logs", "--lines", "30"]);
            println!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        self.holm(&["dev", "stop"]);
    }
}

/// Runs the program with its files below `dir`.
pub(crate) fn holm(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// The program with its files below `dir`, not started yet.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
    command
        .args(args)
        .current_dir(dir)
        .env("HOLM_DEV_DIR", dir)
        .env_remove("HOLM_URL")
        .stdin(Stdio::null());
    command
}

/// What a run printed.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The process ids of a document's nodes.
pub(crate) fn pids(document: &Value) -> Vec<u64> {
    let nodes = document["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["pid"].as_u64().unwrap()).collect()
}

/// True when a process with this id runs (a zombie does not).
pub(crate) fn is_running(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

fn client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// Between two looks.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
