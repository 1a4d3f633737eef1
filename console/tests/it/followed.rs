//! Following the whole cluster from outside while nodes are killed (G8).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

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

/// Promise G8, laws O1, O16 and U5: a view in SQLite has every event once, and a durable subscription gives every event at least once, those of a shard in order,
/// while nodes and readers are killed and paused. The long form is `holm chaos --followers --faults kill:20,pause:5`.
#[test]
fn views_and_subscriptions_miss_nothing_through_kills_and_pauses() {
    let cluster = LocalCluster::start(&["--load", "150", "--accounts", "40", "--shards", "8"]);
    cluster.wait_for_load();
    let faults = "kill-random:2,kill-leader:2,pause-lease:1";
    let report = cluster.json(&["chaos", "--followers", "--faults", faults, "--seed", "5"]);
    assert_eq!((&report["holds"], &report["problems"]), (&json!(true), &json!([])));
    let saw = &report["followers"];
    println!("{saw}");
    assert_eq!((&saw["kills"], &saw["pauses"]), (&json!(4), &json!(1)));
    assert!(saw["facts"].as_u64() > Some(500) && saw["in_view"].as_u64() > Some(500), "{saw}");
    assert!(saw["deliveries"].as_u64() > Some(500), "{saw}");
}
