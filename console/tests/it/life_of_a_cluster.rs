//! Starting and ending: one document, and nothing left behind.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::local_cluster::{
    LocalCluster, PATIENCE, command, holm, is_running, pause, pids, take_turn, told,
};

#[test]
fn a_detached_cluster_prints_one_document_and_stops_without_a_trace() {
    let begun = Instant::now();
    let cluster = LocalCluster::start(&["--no-load"]);
    println!("up within {:.2} s", begun.elapsed().as_secs_f64());
    let document = cluster.document.clone();
    let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["cluster", "data_dir", "nodes"]);
    let nodes = document["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert!(node["id"].as_u64() > Some(0), "{node}");
        assert!(node["http"].as_str().unwrap().starts_with("http://127.0.0.1:"));
        assert!(std::path::Path::new(node["log"].as_str().unwrap()).exists());
        assert!(is_running(node["pid"].as_u64().unwrap()));
    }
    cluster.open("account/a");
    let answer = cluster.send_until_answered("account/a", "deposit", &json!({ "amount": 5 }), "k");
    assert_eq!(answer["reply"], 5);
    let stopped = cluster.holm(&["dev", "stop"]);
    assert!(stopped.status.success(), "{}", told(&stopped));
    assert!(pids(&document).iter().all(|pid| !is_running(*pid)));
    assert!(!std::path::Path::new(document["data_dir"].as_str().unwrap()).exists());
    assert!(!cluster.dir().join(".holm/dev/cluster.json").exists());
    let again = cluster.holm(&["dev", "status"]);
    assert_eq!(again.status.code(), Some(4), "{}", told(&again));
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    let cluster = LocalCluster::start(&["--load", "100", "--accounts", "20"]);
    cluster
        .wait_until("the load generator runs", |it| it.status()["load"]["pid"].as_u64() > Some(0));
    let status = cluster.status();
    let mut processes = pids(&status);
    processes.push(status["load"]["pid"].as_u64().unwrap());
    let supervisor = status["supervisor"].as_u64().unwrap();
    kill(supervisor, "-KILL");
    cluster.wait_until("all processes are gone", |_| !processes.iter().any(|pid| is_running(*pid)));
    // What the killed one left is no obstacle and is swept away.
    let left = std::path::Path::new(cluster.document["data_dir"].as_str().unwrap()).to_owned();
    assert!(left.exists());
    let again =
        holm(cluster.dir(), &["dev", "--detach", "--json", "--port-base", "0", "--no-load"]);
    assert!(again.status.success(), "{}", told(&again));
    assert!(!left.exists());
}

#[test]
fn a_supervisor_in_the_foreground_ends_with_everything_on_sigterm() {
    let cluster = LocalCluster::start(&["--no-load"]);
    let second = holm(cluster.dir(), &["dev", "--no-load", "--port-base", "0"]);
    assert_eq!(second.status.code(), Some(1), "only one cluster runs from one directory");
    assert!(told(&second).contains("already running"), "{}", told(&second));
    assert!(cluster.holm(&["dev", "stop"]).status.success());

    let mut child =
        command(cluster.dir(), &["dev", "--no-load", "--port-base", "0"]).spawn().unwrap();
    cluster.wait_until("it serves", |it| {
        it.holm(&["dev", "status"]).status.success() && it.status()["serving"] == true
    });
    let processes = pids(&cluster.status());
    kill(u64::from(child.id()), "-TERM");
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "the supervisor does not end");
        pause();
    };
    assert!(status.success(), "{status}");
    assert!(processes.iter().all(|pid| !is_running(*pid)));
}

/// The last line tells what is so now, and Ctrl-C ends everything.
#[test]
fn a_cluster_in_the_foreground_says_what_is_served_and_ends_on_ctrl_c() {
    let _turn = take_turn();
    let dir = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let screen = dir.path().join("screen");
    let base = port.to_string();
    let args = ["dev", "--port-base", &base, "--load", "100", "--accounts", "20", "--shards", "8"];
    let stdout = std::fs::File::create(&screen).unwrap();
    let mut supervisor = Supervisor(command(dir.path(), &args).stdout(stdout).spawn().unwrap());
    let said = || std::fs::read_to_string(&screen).unwrap();
    wait_until("every shard is shown as served", || said().contains("shards 8/8"));
    let taken = format!("port {port} is used by pid {} (", std::process::id());
    assert!(said().contains(&taken), "{}", said());
    assert!(said().contains("20 accounts opened"), "{}", said());
    let status = holm(dir.path(), &["dev", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    for node in ["holm-2", "holm-3"] {
        let killed = holm(dir.path(), &["kill", node, "--no-watch"]);
        assert!(killed.status.success(), "{}", told(&killed));
    }
    // Without a majority nothing is served, whatever the number at the start.
    wait_until("the missing shards are shown", || said().contains("shards 0/8"));
    let mut processes = pids(&status);
    processes.push(status["load"]["pid"].as_u64().unwrap());
    kill(u64::from(supervisor.0.id()), "-INT");
    wait_until("the supervisor ends", || supervisor.0.try_wait().unwrap().is_some());
    assert!(supervisor.0.wait().unwrap().success());
    assert!(processes.iter().all(|pid| !is_running(*pid)));
    assert!(!std::path::Path::new(status["data_dir"].as_str().unwrap()).exists());
    assert!(!dir.path().join(".holm/dev/cluster.json").exists());
}

#[test]
fn data_in_the_temporary_place_is_kept_when_asked_for() {
    let first = LocalCluster::start(&["--nodes", "1", "--shards", "4", "--no-load", "--keep"]);
    let (name, data) = (first.document["cluster"].clone(), first.document["data_dir"].clone());
    let data = data.as_str().unwrap();
    assert!(first.holm(&["dev", "stop"]).status.success());
    assert!(std::path::Path::new(data).join("holm-1").exists());
    // Neither its own end nor the next cluster from here, which sweeps, deletes it.
    let start = |more: &[&str]| {
        let mut args = vec!["dev", "--detach", "--json", "--port-base", "0", "--nodes", "1"];
        args.extend(["--shards", "4", "--no-load"]);
        args.extend(more);
        let started = first.holm(&args);
        assert!(started.status.success(), "{}", told(&started));
        let document: serde_json::Value = serde_json::from_slice(&started.stdout).unwrap();
        assert!(first.holm(&["dev", "stop"]).status.success());
        document["cluster"].clone()
    };
    assert_ne!(start(&[]), name);
    assert_eq!(start(&["--data-dir", data]), name);
}

#[test]
fn kept_data_comes_back_as_the_same_cluster() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap().to_owned();
    let first = LocalCluster::start(&["--no-load", "--data-dir", &path]);
    first.open("account/a");
    first.send_until_answered("account/a", "deposit", &json!({ "amount": 7 }), "k");
    let name = first.document["cluster"].clone();
    drop(first);
    let second = LocalCluster::start(&["--no-load", "--data-dir", &path]);
    assert_eq!(second.document["cluster"], name);
    let answer = second.send_until_answered("account/a", "deposit", &json!({ "amount": 7 }), "k");
    assert_eq!((&answer["reply"], &answer["replayed"]), (&json!(7), &json!(true)));
}

#[test]
fn a_node_that_cannot_start_is_named_with_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let output =
        holm(dir.path(), &["dev", "--detach", "--json", "--port-base", "0", "--bin", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(begun.elapsed() < Duration::from_secs(20), "it does not wait for a node that ended");
    assert!(told(&output).contains("ended"), "{}", told(&output));
    assert!(!dir.path().join(".holm/dev/cluster.json").exists());
}

/// A supervisor in the foreground. Where a step failed nobody else ends it; its processes go with it.
struct Supervisor(std::process::Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        _ = self.0.kill();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        pause();
    }
}

fn kill(pid: u64, signal: &str) {
    let killed = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(killed.unwrap().success());
}
