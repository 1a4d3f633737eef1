//! Policies, through the door that a service uses: on one node that comes and goes, and in a cluster that loses one.

use std::path::Path;
use std::time::Duration;

use holm::{Holm, Policy, StartError};
use holm_domains::bank::{Account, AccountEvent, Balance, Close, Deposit, Open};

use crate::cluster::three_with;

/// Who opens an account gets five cents, and the bank's own account counts them. The account knows nothing of it.
fn bonus() -> Policy {
    Policy::whenever::<Account>("bonus", |event, fact, then| match event {
        AccountEvent::Opened { .. } if fact.address().id() != "bank" => then
            .send::<Account, _>(fact.address().id(), Deposit { amount: 5 })
            .send::<Account, _>("bank", Deposit { amount: 1 }),
        _ => then,
    })
}

async fn start(dir: &Path) -> Holm {
    let builder = Holm::builder().entity::<Account>().policy(bonus());
    builder.data_dir(dir).shards(4).start().await.unwrap()
}

async fn open(holm: &Holm, id: &str) {
    holm.entity::<Account>(id).ask(Open { owner: id.into() }).await.unwrap();
}

async fn balance_becomes(holm: &Holm, id: &str, expected: u64) {
    while holm.entity::<Account>(id).ask(Balance {}).await.unwrap() < expected {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(holm.entity::<Account>(id).ask(Balance {}).await, Ok(expected));
}

/// Promise G2: what happened while a node carried its policy out, and what it had no time for, is carried out once; the position is kept and told.
#[tokio::test]
async fn a_policy_goes_on_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let holm = start(dir.path()).await;
        if life == 0 {
            open(&holm, "bank").await;
        }
        for number in 0..10 {
            open(&holm, &format!("a{life}-{number}")).await;
        }
        if life == 2 {
            balance_becomes(&holm, "bank", 30).await;
            for number in 0..30 {
                let id = format!("a{}-{}", number / 10, number % 10);
                balance_becomes(&holm, &id, 5).await;
            }
            let ends = holm.bus().ends().await.unwrap();
            let subscription = bonus().subscription();
            while !holm.bus().position_of(&subscription).await.unwrap().has_reached(&ends) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        holm.shutdown().await;
    }
}

/// A refusal by the target is an answer: it counts as handled, and nothing is tried again.
#[tokio::test]
async fn a_refusal_counts_as_handled() {
    let holm = Holm::builder().entity::<Account>().policy(bonus()).in_memory().shards(2);
    let holm = holm.start().await.unwrap();
    open(&holm, "bank").await;
    holm.entity::<Account>("bank").ask(Close {}).await.unwrap();
    for id in ["a", "b", "c"] {
        open(&holm, id).await;
        balance_becomes(&holm, id, 5).await;
    }
    let failures = holm.failures().list(&holm::FailureFilter::default()).await.unwrap();
    assert_eq!(failures.rows, []);
    holm.shutdown().await;
}

/// Promise G2: three nodes share a policy; one goes, and all that happens before, meanwhile and after is carried out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_carried_out_by_the_cluster() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three_with(data.path(), |builder| builder.policy(bonus())).await;
    open(&nodes[0], "bank").await;
    for number in 0..30 {
        open(&nodes[number % 2], &format!("a{number}")).await;
        if number == 15 {
            nodes[2].shutdown().await;
        }
    }
    balance_becomes(&nodes[0], "bank", 30).await;
    for number in 0..30 {
        balance_becomes(&nodes[1], &format!("a{number}"), 5).await;
    }
    nodes[1].shutdown().await;
    nodes[0].shutdown().await;
}

#[tokio::test]
async fn a_policy_without_a_name_keeps_a_node_from_starting() {
    let nameless = Policy::whenever::<Account>("", |_, _, then| then);
    let started = Holm::builder().entity::<Account>().policy(nameless).in_memory().start().await;
    assert!(matches!(started, Err(StartError::Settings { .. })), "{started:?}");
}
