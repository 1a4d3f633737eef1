//! Real kills: a process that projects is killed in the middle, again and again, and its file is looked at.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holm_projections::{Options, Projection, SledView, SqliteView, start};

use super::node::{Node, PATIENCE};
use super::tally::{Store, Tally, agrees};

/// Tells the child where its view is. Without it the child is a test that does nothing.
const VIEW: &str = "PROJECTIONS_TEST_VIEW";

const KILLS: u64 = 8;

/// The same log in each process: the same payments, one after the other.
async fn node_with_a_history() -> Node {
    let node = Node::start().await;
    for round in 0..40 {
        node.payments(12, round).await;
    }
    node
}

fn options() -> Options {
    Options { group_facts: 1, ..Options::default() }
}

/// What runs in the process that is killed.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(VIEW) else { return };
    let node = node_with_a_history().await;
    let tally = match path.strip_suffix("sled") {
        Some(_) => start(node.bus(), Tally::default(), SledView::open(path).unwrap(), options()),
        None => start(node.bus(), Tally::default(), SqliteView::open(path).unwrap(), options()),
    };
    println!("\nprojecting");
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
}

fn begin(path: &std::path::Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kills::child", "--exact", "--nocapture"])
        .env(VIEW, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "projecting"), "the child never began");
    child
}

/// Promise G8, laws O1 and O16: a kill leaves rows and position as they were after some transaction, and the next life goes on from there.
async fn a_killed_process_leaves_a_view_that_counts_each_event_once<V: Store>()
where
    Tally: Projection<V>,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(V::NAME);
    let node = node_with_a_history().await;
    for kill in 0..KILLS {
        let mut child = begin(&path);
        tokio::time::sleep(Duration::from_millis(5 + 7 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let view = V::open(&path).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), options());
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    assert_eq!(view.seen().await.len(), 480);
    tally.stop().await;
    node.host.stop().await;
}

on_both!(a_killed_process_leaves_a_view_that_counts_each_event_once);
