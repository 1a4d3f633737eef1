//! What happens to a server, and to members that are processes: they are killed and frozen, and then what is in the view is looked at.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use holm_projections::postgres::{Config, Transaction};
use holm_projections::{
    HandlerError, Options, PostgresView, Projection, ProjectionHandle, State, spread,
};
use holm_runtime::bus::{Fact, Interest};
use tokio::time::Instant;

use super::node::{Node, PATIENCE};
use super::server;
use super::store::schema_of;
use super::tally::{Store as _, Tally, agrees, blocking};

/// Tells the child where its server is, and what its view is called. Without it the child is a test that does nothing.
const VIEW: &str = "PROJECTIONS_TEST_POSTGRES";

const KILLS: u64 = 6;

/// The same log in each process: the same payments, one after the other.
async fn node_with_a_history() -> Node {
    let node = Node::start().await;
    for round in 0..20 {
        node.payments(12, round).await;
    }
    node
}

/// Takes its time in the middle of each transaction, so that whoever ends or freezes it meets one.
struct Slow(Tally);

impl Projection<PostgresView> for Slow {
    const NAME: &'static str = "tally";

    fn interest(&self) -> Interest {
        Projection::<PostgresView>::interest(&self.0)
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Projection::<PostgresView>::prepare(&self.0, tx)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        Projection::<PostgresView>::handle(&self.0, tx, facts)?;
        Ok(tx.batch_execute("SELECT pg_sleep(0.02)")?)
    }
}

fn options() -> Options {
    Options { group_facts: 4, ..Options::default() }
}

/// What runs in the process that is killed. Its group is its own, as if it were cut off: it believes that all shards are its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(view) = std::env::var(VIEW) else { return };
    let (config, schema) = view.split_once('|').unwrap();
    let view = PostgresView::new(config.parse().unwrap(), schema).unwrap();
    let node = node_with_a_history().await;
    let member = spread(node.bus(), Slow(Tally::default()), view, options());
    println!("\nprojecting");
    member.passed_all(&node.ends().await, 10 * PATIENCE).await.unwrap();
    println!("\npassed");
    std::future::pending::<()>().await;
}

/// A member that is a process, which ends with the test.
struct Member {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Member {
    fn begin(config: &str, schema: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut child = Command::new(this)
            .args(["members::child", "--exact", "--nocapture"])
            .env(VIEW, format!("{config}|{schema}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()));
        let mut member = Self { child, lines };
        member.wait_for("projecting");
        member
    }

    fn wait_for(&mut self, word: &str) {
        let lines = self.lines.as_mut().unwrap();
        assert!(lines.lines().any(|line| line.unwrap() == word), "the child never said: {word}");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The place of a view on the server of all, as a child is told it.
fn place() -> Option<(Config, String, String)> {
    let config = server::shared()?.config_tcp();
    let port = config.get_ports()[0];
    let text = format!(
        "host=127.0.0.1 port={port} user={} password={} dbname=postgres",
        server::USER,
        server::PASSWORD
    );
    let dir = tempfile::tempdir().unwrap();
    Some((config, text, schema_of(dir.path())))
}

/// Promise G8, laws O1 and O16: members are killed in the middle, again and again, while others go on; each event is in the view once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_members_leave_each_event_once() {
    let Some((config, text, schema)) = place() else { return };
    let node = node_with_a_history().await;
    for kill in 0..KILLS {
        let (text, schema) = (text.clone(), schema.clone());
        let two =
            blocking(move || [Member::begin(&text, &schema), Member::begin(&text, &schema)]).await;
        tokio::time::sleep(Duration::from_millis(20 + 40 * kill)).await;
        blocking(move || drop(two)).await;
    }
    let view = PostgresView::new(config, &schema).unwrap();
    let last = spread(node.bus(), Tally::default(), view.clone(), options());
    last.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    last.stop().await;
    node.host.stop().await;
}

/// Promise G8: one that is frozen in the middle of a transaction holds its shards up until the server ends that, and counts nothing twice when it is woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_frozen_and_woken_counts_nothing_twice() {
    let Some((config, text, schema)) = place() else { return };
    let node = node_with_a_history().await;
    let told = schema.clone();
    let mut frozen = blocking(move || Member::begin(&text, &told)).await;
    let view = PostgresView::new(config, &schema).unwrap();
    let begun = async {
        while view.read(|tx| tx.query("SELECT 1 FROM seen", &[])).await.map_or(0, |rows| rows.len())
            < 12
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    frozen.signal("-STOP");
    let stopped = Instant::now();
    let last = spread(node.bus(), Tally::default(), view.clone(), options());
    last.passed_all(&node.ends().await, 2 * PATIENCE).await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(25), "{:?}", stopped.elapsed());
    agrees(&node, &view, &[]).await;
    let seen = view.seen().await.len();
    blocking(move || {
        frozen.signal("-CONT");
        frozen.wait_for("passed");
    })
    .await;
    assert_eq!(view.seen().await.len(), seen);
    agrees(&node, &view, &[]).await;
    last.stop().await;
    node.host.stop().await;
}

/// Promise G8: the server is killed in the middle, again and again, and comes back: nothing is lost, nothing is there twice, and no handler is blamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_loses_nothing() {
    let Some(mut server) = server::own().await else { return };
    let (node, schema) = (Node::start().await, "killed");
    let member = |config: Config| {
        let view = PostgresView::new(config, schema).unwrap();
        spread(node.bus(), Tally::default(), view, options())
    };
    let view = PostgresView::new(server.config(), schema).unwrap();
    let members = [member(server.config()), member(server.config())];
    let are = async |state: State| {
        for member in &members {
            let are = member.wait_until(|status| status.state == state, PATIENCE).await;
            assert!(are.is_some(), "{:?}", member.status());
        }
    };
    are(State::Running).await;
    for kill in 0..4 {
        let killing = async {
            tokio::time::sleep(Duration::from_millis(30 + 20 * kill)).await;
            server.kill();
        };
        let paying = async {
            for _ in 0..20 {
                node.payments(12, 1).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::join!(killing, paying);
        let troubled = |it: &ProjectionHandle| it.status().state == State::Retrying;
        let noticed = async {
            while !members.iter().any(troubled) {
                node.payments(12, 1).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, noticed).await.unwrap();
        server = blocking(move || {
            server.begin();
            server
        })
        .await;
        for member in &members {
            member.passed_all(&node.ends().await, 2 * PATIENCE).await.unwrap();
        }
        agrees(&node, &view, &[]).await;
    }
    for member in &members {
        assert_eq!(member.set_aside().await.unwrap(), []);
        member.stop().await;
    }
    node.host.stop().await;
    blocking(move || drop((view, server))).await;
}
