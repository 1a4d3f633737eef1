//! fdatasync is really called, on the database file, before each acknowledgement, and names are made durable in their directories: seen by the
//! kernel's own account.

use std::path::Path;
use std::process::Command;

use crate::child::{self, Mode};
use crate::skipped::skipped;

const BATCHES: usize = 20;

/// Law 3: between two acknowledgements that were not in flight together there is an fdatasync of the database, and the store counts them right.
#[test]
fn each_acknowledgement_is_preceded_by_an_fdatasync() {
    let Some((trace, said)) = traced("fdatasync,write") else { return };
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
    let counted = said.lines().find_map(|line| line.strip_prefix("fsyncs ")).unwrap();
    let counted: u64 = counted.parse().unwrap();
    // The counter begins before the shards are opened and the first batch is written; the trace counts from the first acknowledgement to the end.
    println!(
        "{acknowledged} acknowledgements; the trace shows {fsyncs_of_writing} fdatasync calls behind the first, the counter {counted} in all"
    );
    assert!(counted > BATCHES as u64 && fsyncs_of_writing >= BATCHES as u64 - 1);
}

/// The side file is replaced so that a power cut leaves the old one or the new one: fsync of the new file, rename, fsync of the directory. And the
/// name of a new data directory is made durable in the directory above it.
#[test]
fn names_are_made_durable_in_their_directories() {
    let Some((trace, _)) = traced("fsync,rename,renameat,renameat2,mkdir,mkdirat") else { return };
    let (mut replaced, mut created) = (0, 0);
    let lines: Vec<&str> = trace.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let thread = line.split_whitespace().next();
        let of_thread = |other: &&&str| other.split_whitespace().next() == thread;
        let before =
            lines[..at].iter().rev().find(|line| of_thread(line) && !line.contains("resumed"));
        let after =
            lines[at + 1..].iter().find(|line| of_thread(line) && !line.contains("resumed"));
        if line.contains("rename") && line.contains("holm.identity.new\"") {
            let (before, after) = (before.unwrap(), after.unwrap());
            assert!(before.contains("/data/holm.identity.new>"), "{before}\n{line}");
            assert!(after.contains("fsync(") && after.contains("/data>"), "{line}\n{after}");
            replaced += 1;
        }
        if line.contains("mkdir") && line.contains("/data\"") {
            let after = after.unwrap();
            assert!(after.contains("fsync(") && after.contains("/parent>"), "{line}\n{after}");
            created += 1;
        }
    }
    assert!(replaced >= 2 && created == 1, "{replaced} and {created} in:\n{trace}");
}

/// What a writing child did in the kernel's eyes, and what it said; none where nothing can be traced.
fn traced(calls: &str) -> Option<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let parent = dir.path().join("parent");
    std::fs::create_dir(&parent).unwrap();
    let child = child::command(&parent.join("data"), Mode::OneByOne(BATCHES as u64), 1);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-s", "256", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
    traced.arg(child.get_program()).args(child.get_args());
    traced.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match traced.output() {
        Ok(output) if output.status.success() => {
            Some((read(&trace), String::from_utf8(output.stdout).unwrap()))
        }
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            skipped(&format!("strace cannot trace here: {reason}"));
            None
        }
        Err(error) => {
            skipped(&format!("strace cannot be started: {error}"));
            None
        }
    }
}

fn read(trace: &Path) -> String {
    std::fs::read_to_string(trace).unwrap()
}
