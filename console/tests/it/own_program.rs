//! A program of one's own as the nodes of `holm dev --bin`: it has none of the demo domains.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::built;
use crate::local_cluster::{LocalCluster, PATIENCE, command, holm, pause, told};

#[test]
fn a_program_without_the_demo_bank_is_started_killed_and_watched() {
    let program = built::example("node");
    let cluster = LocalCluster::start(&["--shards", "8", "--bin", program.to_str().unwrap()]);
    let said = std::fs::read_to_string(cluster.dir().join(".holm/dev/supervisor.log")).unwrap();
    assert_eq!(said.matches("no load").count(), 1, "{said}");
    assert!(said.contains("`account`") && !said.contains("accounts opened"), "{said}");
    assert_eq!(cluster.status()["load"], Value::Null);

    let sign = json!({ "guest": "ada" });
    assert_eq!(cluster.send_until_answered("guest-book/hall", "sign", &sign, "k")["reply"], 1);
    let killed = cluster.json(&["kill", "holm-2"]);
    assert_eq!((&killed["settled"], &killed["probed"]), (&json!(true), &json!("read")), "{killed}");
    assert!(killed["all_serving_ms"].as_f64() > Some(0.0), "{killed}");
    let guests = cluster.send_until_answered("guest-book/hall", "guests", &json!({}), "read");
    assert_eq!(guests["reply"], json!(["ada"]));
    assert_eq!(cluster.json(&["restart", "holm-2"])["settled"], true);
    let paused = cluster.holm(&["pause", "holm-3"]);
    assert!(paused.status.success(), "{}", told(&paused));
    let text = told(&paused);
    assert!(text.contains("8 of 8 shards answer a read"), "{text}");
    assert!(text.contains("no write was probed") && !text.contains("answer a write"), "{text}");
    let failures = cluster.json(&["failures"]);
    assert!(!failures.to_string().contains("dead_letter"), "nobody asked for accounts: {failures}");

    // Who starts the load generator by hand hears it from the cluster, and nothing counts as opened.
    let load = cluster.holm(&["load", "--json", "--accounts", "3", "--duration", "60"]);
    assert_eq!(load.status.code(), Some(1), "{}", told(&load));
    let text = told(&load);
    assert!(text.contains("no accounts to work with") && text.contains("`account`"), "{text}");
    let last = String::from_utf8_lossy(&load.stdout).lines().last().map(serde_json::from_str);
    let last: Value = last.unwrap().unwrap();
    assert_eq!((&last["accounts"], &last["total_answered"]), (&json!(0), &json!(0)), "{last}");
}

#[test]
fn a_program_that_never_says_that_it_can_be_reached_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(dir.path(), "exec sleep 600");
    for detach in [None, Some("--detach")] {
        let mut args = vec!["dev", "--port-base", "0", "--ready-within", "2", "--domain", "seats"];
        args.extend(["--bin", program.to_str().unwrap()]);
        args.extend(detach);
        let (code, text) = holm_in_time(dir.path(), &args);
        assert_eq!(code, Some(1), "{text}");
        for part in [
            "holm-1, holm-2, holm-3 did not say within 2 s that it can be reached",
            r#"{"http":"http://127.0.0.1:"#,
            r#""name":"holm-1"}"#,
            dir.path().join(".holm/dev/holm-1.log").to_str().unwrap(),
        ] {
            assert!(text.contains(part), "`{part}` is missing:\n{text}");
        }
        assert!(!dir.path().join(".holm/dev/cluster.json").exists());
        // Whose entities there are is not for --domain to say.
        let said = match detach {
            None => text,
            Some(_) => {
                std::fs::read_to_string(dir.path().join(".holm/dev/supervisor.log")).unwrap()
            }
        };
        assert!(said.contains("none for seats. What is served is up to"), "{said}");
    }
}

#[test]
fn a_domain_without_a_load_generator_is_served_without_load() {
    let dir = tempfile::tempdir().unwrap();
    let unknown = holm(dir.path(), &["dev", "--domain", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", told(&unknown));
    assert!(told(&unknown).contains("[possible values: bank, seats, flights]"));

    let cluster = LocalCluster::start(&["--nodes", "1", "--shards", "4", "--domain", "flights"]);
    assert_eq!(cluster.status()["load"], Value::Null);
    assert_eq!(cluster.status()["domain"], "flights");
    let said = std::fs::read_to_string(cluster.dir().join(".holm/dev/supervisor.log")).unwrap();
    assert!(said.contains("none for flights. Every domain is served"), "{said}");
}

/// Runs the program, kills it when it does not end, and gives its exit code and all that it said.
fn holm_in_time(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let path = dir.join("said");
    let said = std::fs::File::create(&path).unwrap();
    let mut run = command(dir, args);
    let mut child = run.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        pause();
    }
    // The supervisor takes its processes along; who has ended does not mind.
    child.kill().unwrap();
    (child.wait().unwrap().code(), std::fs::read_to_string(path).unwrap())
}

fn script(dir: &Path, line: &str) -> PathBuf {
    let path = dir.join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}
