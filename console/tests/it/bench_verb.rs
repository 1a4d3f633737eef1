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
    let output = holm(dir.path(), &short);
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

    let mut gated = short.to_vec();
    gated.extend(["--fail-if", "rate>1"]);
    let output = holm(dir.path(), &gated);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
}
