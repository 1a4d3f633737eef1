//! Crashes at random moments, and failures, against the logs themselves.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use holm_projections::{OnFailure, Options, Projection, SledView, SqliteView, assemble, start};
use proptest::prelude::*;

use super::node::{Node, PATIENCE};
use super::tally::{Store, Tally, agrees};

/// A worker that ends at its n-th step, wherever that is.
pub(crate) struct Doomed<F> {
    pub(crate) work: Pin<Box<F>>,
    pub(crate) steps: u32,
}

impl<F: Future<Output = ()>> Future for Doomed<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.steps.checked_sub(1) else { return Poll::Ready(()) };
        self.steps = left;
        self.work.as_mut().poll(cx)
    }
}

/// One life of a process: what happens in it, and when it dies.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) payments: Vec<(u8, u8)>,
    pub(crate) steps: u32,
    pub(crate) failures: u32,
    pub(crate) rebuilds: bool,
    /// Whether the file is opened anew, or only the worker started.
    reopens: bool,
}

pub(crate) fn a_life() -> impl Strategy<Value = Life> {
    let payments = prop::collection::vec((0..6u8, 1..4u8), 0..25);
    (payments, 0..60u32, 0..4u32, prop::bool::weighted(0.25), any::<bool>()).prop_map(
        |(payments, steps, failures, rebuilds, reopens)| Life {
            payments,
            steps,
            failures,
            rebuilds,
            reopens,
        },
    )
}

/// Opens the view; what the life before left on a thread may hold it for a moment.
async fn open<V: Store>(path: &Path) -> V {
    let opened = async {
        loop {
            match V::open(path) {
                Ok(view) => return view,
                Err(error) if error.is_passing() => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap()
}

pub(crate) async fn live<V: Store>(lives: Vec<Life>)
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join(V::NAME);
    let tally = Tally::default();
    let options = Options {
        group_facts: 5,
        on_failure: OnFailure::fail().after_retries(1, Duration::from_millis(1)),
        ..Options::default()
    };
    let mut view: V = open(&path).await;
    for life in lives {
        if life.reopens {
            drop(view);
            view = open(&path).await;
        }
        tally.fails.store(life.failures, Ordering::SeqCst);
        let (handle, work) = assemble(node.bus(), tally.clone(), view.clone(), options.clone());
        let doomed = Doomed { work: Box::pin(work), steps: life.steps };
        let rebuild = async {
            if life.rebuilds {
                // It may die before it hears of it.
                let _ = tokio::time::timeout(Duration::from_millis(20), handle.rebuild()).await;
            }
        };
        let payments = async {
            for (account, parts) in &life.payments {
                node.pay(&format!("a{account}"), 1, u64::from(*parts)).await;
            }
        };
        let doomed = tokio::time::timeout(Duration::from_millis(30), doomed);
        let _ = tokio::join!(doomed, payments, rebuild);
    }
    tally.fails.store(0, Ordering::SeqCst);
    let handle = start(node.bus(), tally, view.clone(), options);
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    handle.wait_until(|status| status.rebuild.is_none(), PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    handle.stop().await;
    node.host.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Promise G8, laws O1, O13 and O16: whatever crashes and fails, and whenever, each event is in the view once, those of a shard in order, none left out.
    #[test]
    fn each_event_is_in_the_view_once(lives in prop::collection::vec(a_life(), 1..6), in_sled: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        if in_sled {
            runtime.block_on(live::<SledView>(lives));
        } else {
            runtime.block_on(live::<SqliteView>(lives));
        }
    }
}

/// Promise G8: two that write to the same view are harmless: the second to commit a place finds another there, and reads again.
async fn two_writers_of_one_view_see_each_event_once_together<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options = Options { group_facts: 3, ..Options::default() };
    let first = start(node.bus(), Tally::default(), view.clone(), options.clone());
    let second = start(node.bus(), Tally::default(), view.clone(), options);
    for round in 1..=5 {
        node.payments(20, round).await;
    }
    for handle in [&first, &second] {
        handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    }
    agrees(&node, &view, &[]).await;
    first.stop().await;
    second.stop().await;
    node.host.stop().await;
}

on_both!(two_writers_of_one_view_see_each_event_once_together);
