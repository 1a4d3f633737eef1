//! The examples: each is run as a reader would run it, and says what it is about. One that serves is used, and told to stop.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::built;

/// An example. Some keep data below the folder that they are started in, and go on with it.
fn example(name: &str, dir: &Path) -> Command {
    let mut example = Command::new(built::example(name));
    example.current_dir(dir);
    example
}

/// What an example prints that comes to an end by itself.
fn run(name: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    run_in(name, dir.path())
}

fn run_in(name: &str, dir: &Path) -> String {
    let ran = example(name, dir).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&ran.stderr));
    said
}

/// An example that serves until it is stopped.
struct Service {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next line that it prints; it prints one when it can be reached.
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Stops it as Ctrl-C does and waits until it has ended.
    fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where a step failed nobody else ends it.
        _ = self.process.kill();
    }
}

#[test]
fn counter() {
    let dir = tempfile::tempdir().unwrap();
    for visits in 1..3 {
        let said = run_in("counter", dir.path());
        assert_eq!(said, format!("visits: {visits}, also after a crash: run it again\n"));
    }
}

#[test]
fn cluster() {
    let said = run("cluster");
    for line in
        ["deposited through the second node, balance 100", "without the third node, balance 100"]
    {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}

#[test]
fn embed() {
    let dir = tempfile::tempdir().unwrap();
    for balance in [100, 200] {
        let mut service = Service::start(example("embed", dir.path()).arg("127.0.0.1:0"));
        let line = service.line();
        let alice = format!("{}/accounts/alice", line.strip_prefix("listening on ").unwrap());
        let http = Client::new();
        let deposit = http.post(format!("{alice}/deposits")).json(&json!({ "amount": 100 })).send();
        assert_eq!(deposit.unwrap().json::<u64>().unwrap(), balance);
        assert_eq!(http.get(&alice).send().unwrap().json::<u64>().unwrap(), balance);
        let unknown = http.get(alice.replace("alice", "nobody")).send().unwrap();
        assert_eq!(unknown.status(), 422);
        service.stop();
    }
}

#[test]
fn node() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(
        example("node", dir.path())
            .env("HOLM_HTTP__BIND", "127.0.0.1:0")
            .env("HOLM_NODE__NAME", "hall"),
    );
    let ready: Value = serde_json::from_str(&service.line()).unwrap();
    assert_eq!(ready["name"], "hall");
    let http = ready["http"].as_str().unwrap();
    let sign = format!("{http}/api/v1/entities/guest-book/hall/commands/sign");
    let signed = Client::new().post(sign).json(&json!({ "guest": "ada" })).send().unwrap();
    assert_eq!(signed.json::<Value>().unwrap()["reply"], 1);
    service.stop();
}

#[test]
fn process() {
    let said = run("process");
    assert!(said.contains("books: ") && said.contains("paid, 30 left"), "{said}");
}

#[test]
fn subscribe() {
    let said = run("subscribe");
    for line in ["live      bob withdrew 30 cents (their event 3)", "letters sent"] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}

#[test]
fn projection() {
    let said = run("projection");
    let ranking = r#"[("Alice", 120), ("Carol", 90), ("Bob", 70)]"#;
    assert!(said.contains(&format!("rebuilt: {ranking}, 6 of 6 records")), "{said}");
}

#[test]
fn supervision() {
    let said = run("supervision");
    for line in [
        "garage weighs 7 g and noticed nothing",
        "scale/kitchen is in quarantine since failure",
        "scale/kitchen panicked 3 times: attempt to divide by zero",
        "kitchen weighs 100 g, as before",
    ] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}

/// What was done is undone, the newest first.
#[test]
fn onboarding_orchestration() {
    let said = run("onboarding_orchestration");
    let back = "record undone, address undone, credit undone";
    for line in [
        "ada: started, credit done, address done, record done, Approved".to_owned(),
        format!("turned back: there is a criminal record, {back}, Rejected"),
        "cy: started, turned back: nobody gets that much credit, Rejected".to_owned(),
        format!("overdue, turned back: it took too long, {back}, TimedOut"),
        "published: eve TimedOut".to_owned(),
    ] {
        assert!(said.contains(&line), "`{line}` is missing:\n{said}");
    }
}

#[test]
fn onboarding_choreography() {
    let said = run("onboarding_choreography");
    for line in [
        "ada: Admitted\n",
        "bob: TurnedDown: there is a criminal record\n",
        "eve: TurnedDown: the office did not answer\n",
        "bob: customer Applied, credit-check Reserved, address-check Confirmed, record-check Requested",
        "bob: record-check Tainted",
        "record-check Requested, record-check Lapsed",
        "address-check Forgotten, credit-check Released",
    ] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}
