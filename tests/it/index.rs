//! The indexes of a node: caches, whose loss costs nothing but is told.

use std::path::Path;
use std::time::Duration;

use holm::{DiskLimits, FailureFilter, FailureKind, Holm, ShardId, Subject};
use holm_domains::bank::{Account, Balance, Deposit, Open};
use holm_persistence::{LogId, Op, Store, StoreOptions};

async fn start(dir: &Path) -> Holm {
    let look_often = DiskLimits { look_every: Duration::from_millis(20), ..DiskLimits::default() };
    let builder = Holm::builder().entity::<Account>().data_dir(dir).shards(1);
    builder.disk_limits(look_often).start().await.unwrap()
}

/// Promise G7: an index that cannot be believed is a fact, and everything that is in the log is there all the same.
#[tokio::test]
async fn an_index_that_is_built_anew_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let holm = start(dir.path()).await;
    let account = holm.entity::<Account>("a");
    account.ask(Open { owner: "Ada".into() }).await.unwrap();
    for _ in 0..3 {
        account.ask(Deposit { amount: 1 }).await.unwrap();
    }
    holm.shutdown().await;
    drop((account, holm));
    // Its log loses its end, as a disk might, and the index knows of it.
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let index = store.last_index(LogId(0)).unwrap();
    let (done, committed) = std::sync::mpsc::channel();
    let cut = vec![Op::TruncateFrom { log: LogId(0), index }];
    store.commit(cut, Box::new(move |result| done.send(result).unwrap()));
    committed.recv().unwrap().unwrap();
    store.close().unwrap();
    drop(store);

    let holm = start(dir.path()).await;
    let filter = FailureFilter::all().kind(FailureKind::IndexFailed);
    let told = async {
        loop {
            if let Some(row) = holm.failures().list(&filter).await.unwrap().rows.pop() {
                break row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let row = tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told");
    assert_eq!((row.subject, row.count), (Subject::Shard(ShardId(0)), 1));
    assert!(row.causes[0].contains("its log does not have"), "{:?}", row.causes);
    assert_eq!(holm.entity::<Account>("a").ask(Balance {}).await, Ok(2));
    holm.shutdown().await;
}
