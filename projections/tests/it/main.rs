//! The integration tests of the read side: a node with its log in memory, and views in files.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test with its line")]

/// Runs tests that are written for any store on each of them.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<holm_projections::SqliteView>().await;
            })*
        }

        mod on_sled {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<holm_projections::SledView>().await;
            })*
        }
    };
}

mod crashes;
mod failures;
mod following;
mod kills;
mod management;
mod node;
mod rebuilding;
mod shared;
mod tally;
