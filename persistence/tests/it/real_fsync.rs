//! fdatasync is really called, on the database file, before each acknowledgement: seen by the kernel's own account.

use std::process::Command;

use crate::child::{self, Mode};

const BATCHES: usize = 20;

/// Law 3: between two acknowledgements that were not in flight together there is an fdatasync of the database, and the store counts them right.
#[test]
fn each_acknowledgement_is_preceded_by_an_fdatasync() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let data = dir.path().join("data");
    let child = child::command(&data, Mode::OneByOne(BATCHES as u64), 1);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-s", "16", "-e", "trace=fdatasync,write", "-o"]).arg(&trace);
    traced.arg(child.get_program()).args(child.get_args());
    traced.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = match traced.output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            println!("skipped: strace cannot trace here: {reason}");
            return;
        }
        Err(error) => {
            println!("skipped: strace cannot be started: {error}");
            return;
        }
    };
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut synced, mut acknowledged, mut fsyncs_of_writing) = (0, 0, 0);
    for line in trace.lines() {
        if line.contains("fdatasync(") && line.contains("/data/db>") {
            synced += 1;
            fsyncs_of_writing += u64::from(acknowledged > 0);
        } else if line.contains("write(") && line.contains("\"ack ") {
            assert!(synced > 0, "an acknowledgement without an fdatasync before it");
            (synced, acknowledged) = (0, acknowledged + 1);
        }
    }
    assert_eq!(acknowledged, BATCHES);
    let said = String::from_utf8(output.stdout).unwrap();
    let counted = said.lines().find_map(|line| line.strip_prefix("fsyncs ")).unwrap();
    let counted: u64 = counted.parse().unwrap();
    // The counter begins before the shards are opened and the first batch is written; the trace counts from the first acknowledgement to the end.
    println!(
        "{acknowledged} acknowledgements; the trace shows {fsyncs_of_writing} fdatasync calls behind the first, the counter {counted} in all"
    );
    assert!(counted > BATCHES as u64 && fsyncs_of_writing >= BATCHES as u64 - 1);
}
