//! A projection whose work is shared, in processes of their own: one is killed, the other takes over, and nothing is left out (G8).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::local_cluster::{LocalCluster, PATIENCE, command, pause};

const SHARDS: usize = 8;

/// Seconds: a lease of 5 s, two attendances of 1.5 s, and a load that leaves something to handle in each shard. The rest is for a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// Shard, offset, place among the events of the record.
type Place = (u64, u64, u64);

/// A process that runs the projection and writes a line for each fact it handles.
struct Member {
    child: Child,
    file: PathBuf,
}

impl Member {
    fn start(cluster: &LocalCluster, name: &str) -> Self {
        let nodes = cluster.status()["nodes"].clone();
        let peers = nodes.as_array().unwrap().iter().map(|node| node["peer"].as_str().unwrap());
        let seeds = peers.collect::<Vec<_>>().join(",");
        let (name, dir) = (format!("letters.{name}"), cluster.dir().to_str().unwrap());
        let its_cluster = cluster.document["cluster"].as_str().unwrap();
        let whose = ["follower", "--kind", "shared", "--name", &name, "--dir", dir];
        let words = [&whose[..], &["--cluster", its_cluster, "--seeds", &seeds]].concat();
        let child = command(cluster.dir(), &words).stdout(Stdio::null()).spawn().unwrap();
        Self { child, file: cluster.dir().join(format!("{name}.1.txt")) }
    }

    /// What it handled, in order.
    fn handled(&self) -> Vec<Place> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        // What follows the last end of a line was being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let place = |line: &str| {
            let mut words = line.split(' ').map(|word| word.parse().unwrap());
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
        };
        whole
            .lines()
            .map(|line| place(&line.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ")))
            .collect()
    }

    /// The shards of what it handled since it had handled so much.
    fn shards_since(&self, count: usize) -> BTreeSet<u64> {
        self.handled().iter().skip(count).map(|place| place.0).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that was killed before needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stored(cluster: &LocalCluster) -> BTreeSet<Place> {
    let all = cluster.holm(&["events", "--json"]);
    assert!(all.status.success(), "{all:?}");
    // The events of one command stand behind each other, in their order.
    let mut of_record = BTreeMap::new();
    let place = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let offset = event["holmoffset"].as_str().unwrap().parse().unwrap();
        let shard = event["holmshard"].as_u64().unwrap();
        let next = of_record.entry((shard, offset)).or_default();
        let index = *next;
        *next += 1;
        (shard, offset, index)
    };
    std::str::from_utf8(&all.stdout).unwrap().lines().map(place).collect()
}

/// Promise G8, law U5: two processes share the shards; one is killed with SIGKILL, the other takes over what it read from where that was stored, within the
/// lease and two attendances, and every fact of the logs was handled by one of them.
#[test]
fn a_process_that_shares_the_work_is_killed_and_nothing_is_missed() {
    let shards = SHARDS.to_string();
    let cluster = LocalCluster::start(&["--load", "100", "--accounts", "40", "--shards", &shards]);
    cluster.wait_for_load();
    let (mut killed, other) = (Member::start(&cluster, "a"), Member::start(&cluster, "b"));

    // Both work, each on shards of its own, all shards together.
    let end = Instant::now() + PATIENCE;
    let mut marks = (0, 0);
    let taken = loop {
        let (theirs, others) = (killed.shards_since(marks.0), other.shards_since(marks.1));
        let is_shared = !theirs.is_empty() && !others.is_empty();
        if is_shared && theirs.is_disjoint(&others) && theirs.len() + others.len() == SHARDS {
            break theirs;
        }
        if !theirs.is_disjoint(&others) {
            marks = (killed.handled().len(), other.handled().len());
        }
        assert!(Instant::now() < end, "the work is not shared: {theirs:?}, {others:?}");
        pause();
    };
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let (dead, mark) = (Instant::now(), other.handled().len());
    cluster.wait_until("the other has its shards", |_| taken.is_subset(&other.shards_since(mark)));
    let took = dead.elapsed();
    println!("{} shards were taken over after {:.1} s", taken.len(), took.as_secs_f64());
    assert!(took < TAKEN_OVER, "{took:?}");

    let there = stored(&cluster);
    let together =
        || -> BTreeSet<Place> { killed.handled().into_iter().chain(other.handled()).collect() };
    cluster.wait_until("all that was stored was handled", |_| there.is_subset(&together()));
    let handled = together();
    let unknown: Vec<_> = handled.difference(&stored(&cluster)).copied().collect();
    assert_eq!(unknown, [], "handled and in no log");
    let twice: BTreeSet<Place> =
        killed.handled().into_iter().filter(|it| other.handled().contains(it)).collect();
    println!("{} facts were handled, {} of them by both", handled.len(), twice.len());
    cluster.assert_ledger_holds(100);
}
