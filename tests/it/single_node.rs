//! One node on one directory, through the door that a service uses.

use std::path::Path;

use holm::{AskError, AskOptions, EntityError, Holm, IdempotencyKey, Limits, StartError};
use holm_domains::bank::{Account, AccountRejection, Balance, Deposit, Open, Withdraw};

async fn start(dir: &Path, shards: u32) -> Result<Holm, StartError> {
    Holm::builder().entity::<Account>().data_dir(dir).shards(shards).start().await
}

fn with_key(key: &str) -> AskOptions {
    AskOptions::with_key(IdempotencyKey::new(key).unwrap())
}

/// Promise G1. Promise G2: what was acknowledged is there after a restart, and so is the answer to its key.
#[tokio::test]
async fn a_restart_keeps_state_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let holm = start(dir.path(), 4).await.unwrap();
    let alice = holm.entity::<Account>("alice");
    alice.ask(Open { owner: "Alice".into() }).await.unwrap();
    let first = alice.ask_with(Deposit { amount: 100 }, with_key("pay-day")).await.unwrap();
    assert!(!first.replayed);
    holm.shutdown().await;
    drop(holm);

    let holm = start(dir.path(), 4).await.unwrap();
    let alice = holm.entity::<Account>("alice");
    let again = alice.ask_with(Deposit { amount: 100 }, with_key("pay-day")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.value, again.sequence, again.offset),
        (first.value, first.sequence, first.offset)
    );
    assert_eq!(alice.ask(Balance {}).await, Ok(100));
    holm.shutdown().await;
}

/// Promise G6: a refusal stores nothing but itself, and is repeated as itself.
#[tokio::test]
async fn a_refusal_is_typed_and_changes_nothing() {
    let holm = Holm::builder().entity::<Account>().in_memory().shards(2).start().await.unwrap();
    let bob = holm.entity::<Account>("bob");
    bob.ask(Open { owner: "Bob".into() }).await.unwrap();
    let refused = bob.ask_with(Withdraw { amount: 1 }, with_key("too-much")).await.unwrap_err();
    assert!(matches!(refused, EntityError::Rejected(AccountRejection::Overdraft { .. })));
    bob.ask(Deposit { amount: 5 }).await.unwrap();
    let again = bob.ask_with(Withdraw { amount: 1 }, with_key("too-much")).await.unwrap_err();
    assert_eq!(again, refused, "the key was answered before the money came");
    assert_eq!(bob.ask(Balance {}).await, Ok(5));
    holm.shutdown().await;
}

/// The same key for another intention is refused, by name.
#[tokio::test]
async fn a_key_names_one_intention() {
    let holm = Holm::builder().entity::<Account>().in_memory().shards(2).start().await.unwrap();
    let eve = holm.entity::<Account>("eve");
    eve.ask(Open { owner: "Eve".into() }).await.unwrap();
    eve.ask_with(Deposit { amount: 1 }, with_key("k")).await.unwrap();
    let misuse = eve.ask_with(Deposit { amount: 2 }, with_key("k")).await.unwrap_err();
    assert!(matches!(misuse, EntityError::Failed(AskError::KeyReused { .. })), "{misuse}");
    holm.shutdown().await;
}

/// Promise G3: one process at a time, and never with another number of shards.
#[tokio::test]
async fn a_directory_has_one_owner_and_one_shape() {
    let dir = tempfile::tempdir().unwrap();
    let holm = start(dir.path(), 4).await.unwrap();
    let second = start(dir.path(), 4).await.unwrap_err();
    assert!(matches!(second, StartError::Data { .. }), "{second}");
    holm.shutdown().await;
    drop(holm);

    let reshaped = start(dir.path(), 8).await.unwrap_err();
    assert!(matches!(reshaped, StartError::Settings { .. }), "{reshaped}");
}

#[tokio::test]
async fn a_node_that_is_not_told_where_its_data_goes_does_not_guess() {
    let error = Holm::builder().entity::<Account>().start().await.unwrap_err();
    assert!(matches!(error, StartError::Settings { .. }), "{error}");
}

/// Promise G9: no more shards than a cluster can have, and not none.
#[tokio::test]
async fn a_number_of_shards_that_no_cluster_has_keeps_a_node_from_starting() {
    for shards in [0, 4_097, u32::MAX] {
        let builder = Holm::builder().entity::<Account>().in_memory().shards(shards);
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, StartError::Settings { .. }), "{error:?}");
        assert!(error.to_string().contains("a cluster has 1 to 4096"), "{error}");
    }
}

/// Law T9: a snapshot after no event, or none kept, is refused at start by its name; nothing is rounded up in silence.
#[tokio::test]
async fn a_limit_on_snapshots_that_is_zero_keeps_a_node_from_starting() {
    let (mut never, mut none) = (Limits::default(), Limits::default());
    (never.snapshot_every, none.snapshots_kept) = (0, 0);
    for (limits, named) in [(never, "snapshot_every"), (none, "snapshots_kept")] {
        let builder = Holm::builder().entity::<Account>().in_memory().limits(limits);
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, StartError::Settings { .. }), "{error:?}");
        let said = format!("the limit {named} is 0, it must be at least 1");
        assert!(error.to_string().contains(&said), "{error}");
    }
}
