//! Views in PostgreSQL, against a server of these tests' own: what every store promises, what happens to a server, and what several members do together.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test with its line")]

/// Runs tests that are written for any store on this one.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::server::shared().is_some() {
                    super::$name::<holm_projections::PostgresView>().await;
                }
            })*
        }
    };
}

#[path = "../it/crashes.rs"]
mod crashes;
#[path = "../it/failures.rs"]
mod failures;
#[path = "../it/following.rs"]
mod following;
#[path = "../it/management.rs"]
mod management;
#[path = "../it/node.rs"]
mod node;
#[path = "../it/rebuilding.rs"]
mod rebuilding;
#[path = "../it/tally.rs"]
mod tally;

mod alone;
mod guarded;
mod lives;
mod members;
mod rebuilt;
mod server;
mod store;
mod together;
