//! Following the whole cluster from outside while nodes are killed (G8).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::local_cluster::{LocalCluster, command};

/// A process that follows everything into a file.
struct Follower(Child);

impl Follower {
    fn start(dir: &Path, file: &Path) -> Self {
        let mut follow = command(dir, &["events", "--follow", "--from", "beginning", "--json"]);
        follow.stdout(Stdio::from(File::create(file).unwrap()));
        Self(follow.spawn().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // One that ended by itself needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn events(text: &str) -> Vec<Value> {
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// Promise G8: nodes are killed, the one that the follower talks to first; nothing is left out, nothing comes twice, and each entity's events
/// come in their order.
#[test]
fn a_follower_from_outside_misses_nothing_through_kills() {
    let cluster = LocalCluster::start(&["--load", "200", "--accounts", "50"]);
    let file = cluster.dir().join("followed.ndjson");
    let follower = Follower::start(cluster.dir(), &file);
    cluster.wait_for_load();
    for node in ["holm-1", "holm-3"] {
        cluster.json(&["kill", node]);
        cluster.json(&["restart", node]);
    }
    cluster.assert_ledger_holds(50);
    let all = cluster.holm(&["events", "--json"]);
    assert!(all.status.success(), "{all:?}");
    let stored: BTreeSet<String> =
        events(std::str::from_utf8(&all.stdout).unwrap()).iter().map(id).collect();
    cluster.wait_until("the follower has seen what was there", |_| {
        let seen: BTreeSet<String> =
            events(&std::fs::read_to_string(&file).unwrap()).iter().map(id).collect();
        stored.is_subset(&seen)
    });
    drop(follower);

    let followed = events(&std::fs::read_to_string(&file).unwrap());
    let ids: BTreeSet<String> = followed.iter().map(id).collect();
    assert_eq!(ids.len(), followed.len(), "something came twice");
    let mut sequences: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &followed {
        let sequence = sequences.entry(event["source"].as_str().unwrap()).or_default();
        assert_eq!(event["sequence"], format!("{:020}", *sequence + 1), "{event}");
        *sequence += 1;
    }
    println!("followed {} events of {} entities through two kills", ids.len(), sequences.len());
}
