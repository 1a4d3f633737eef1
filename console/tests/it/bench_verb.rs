//! `holm bench`: a short run prints one document, saves it, cleans up, and its gate has an exit code of its own.

use serde_json::Value;

use crate::local_cluster::{holm, take_turn, told};

#[test]
fn a_short_run_measures_every_step_and_calls_fdatasync() {
    let _turn = take_turn();
    let dir = tempfile::tempdir().unwrap();
    let short = [
        "bench",
        "--json",
        "--duration",
        "1",
        "--warm-up",
        "0",
        "--entities",
        "100",
        "--in-flight",
        "64",
    ];
    let mut with_files = short.to_vec();
    with_files.extend(["--hdr", "run.hlog", "--report", "run.html"]);
    let output = holm(dir.path(), &with_files);
    assert!(output.status.success(), "{}", told(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = document["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    for step in steps {
        println!("{} {}/s, p99 {} ms", step["name"], step["rate"], step["p99_ms"]);
        assert!(step["rate"].as_f64() > Some(0.0), "{step}");
        assert_eq!(step["errors"], 0, "{step}");
    }
    assert!(document["fsyncs"].as_u64() > Some(0), "fsync is really called");
    assert!(document["one_entity"]["ratio"].as_f64() > Some(1.0), "{}", document["one_entity"]);
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".holm/bench")).unwrap().collect();
    assert_eq!(left.len(), 1, "one saved document and no data: {left:?}");

    let log = std::fs::read_to_string(dir.path().join("run.hlog")).unwrap();
    for tag in ["Tag=read-state,", "Tag=command+persist,", "Tag=one-entity-64-in-flight,"] {
        assert!(log.contains(tag), "{log}");
    }
    let page = std::fs::read_to_string(dir.path().join("run.html")).unwrap();
    assert!(page.contains("command+persist") && page.contains("<caption>"), "{page}");

    let saved = left[0].as_ref().unwrap().path();
    let saved = saved.to_str().unwrap();
    let output =
        holm(dir.path(), &["bench", "--report", "two.html", "--from", saved, "--from", saved]);
    assert!(output.status.success(), "{}", told(&output));
    let page = std::fs::read_to_string(dir.path().join("two.html")).unwrap();
    assert!(page.matches("<section>").count() == 2 && page.contains("<svg"), "{page}");

    let mut gated = short.to_vec();
    gated.extend(["--fail-if", "rate>1"]);
    let output = holm(dir.path(), &gated);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
}

/// Asks leave through a node that leads none of what is asked, and each row says how many replicas it had.
#[test]
fn a_run_with_remote_asks_another_process() {
    let _turn = take_turn();
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", "--json", "--duration", "1", "--warm-up", "0", "--remote"];
    let small = ["--entities", "50", "--in-flight", "32", "--shards", "8", "--rate", "50,100"];
    let output = holm(dir.path(), &[&args[..], &small[..]].concat());
    assert!(output.status.success(), "{}", told(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = document["steps"].as_array().unwrap();
    let named = |name: &str| -> Vec<&Value> {
        let is_named = |step: &&Value| step["name"].as_str().is_some_and(|it| it.starts_with(name));
        steps.iter().filter(is_named).collect()
    };
    assert_eq!(named("… at ").len(), 2, "one step for each rate: {steps:?}");
    for name in ["remote read", "remote command"] {
        let rows = named(name);
        let in_flight: Vec<_> = rows.iter().map(|row| row["in_flight"].as_u64()).collect();
        assert_eq!(in_flight, [Some(1), Some(64), Some(1_024)]);
        for row in rows {
            assert!(row["rate"].as_f64() > Some(0.0) && row["errors"] == 0, "{row}");
            assert_eq!(row["replicas"], 1, "{row}");
            let processes = row["processes"].as_array().unwrap();
            assert_eq!(processes.len(), 2, "{row}");
            let busy = |process: &Value| process["cores"].as_f64() > Some(0.0);
            assert!(processes.iter().all(busy), "both sides work: {row}");
        }
    }
}

#[test]
fn an_idle_run_measures_each_node_and_asks_nothing() {
    let _turn = take_turn();
    let dir = tempfile::tempdir().unwrap();
    let output = holm(dir.path(), &["bench", "--json", "--idle", "1", "--nodes", "2"]);
    assert!(output.status.success(), "{}", told(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["steps"].as_array().unwrap().len(), 0);
    let idle = document["idle"].as_array().unwrap();
    let shards: Vec<_> = idle.iter().map(|cluster| cluster["shards"].as_u64()).collect();
    assert_eq!(shards, [Some(32), Some(64)]);
    for cluster in idle {
        let nodes = cluster["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 2, "{cluster}");
        assert!(nodes.iter().all(|node| node["resident_kib"].as_u64() > Some(0)), "{cluster}");
    }
    let usage = holm(dir.path(), &["bench", "--idle", "1", "--remote"]);
    assert_eq!(usage.status.code(), Some(2), "{}", told(&usage));
}

/// Before anything is measured: nothing is started, and the exit code is that of a wrong command line.
#[test]
fn files_that_cannot_be_written_or_read_are_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["bench", "--report", "nowhere/run.html"][..],
        &["bench", "--hdr", "."],
        &["bench", "--report", "run.html", "--from", "nowhere.json"],
        &["bench", "--from", "run.json"],
    ] {
        let output = holm(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", told(&output));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}
