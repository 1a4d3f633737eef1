//! The books of a bank of one shard: there each record of the log is a moment at which a view may have caught up.

use std::time::Duration;

use holm::bus::Start;
use holm::{EntityRef, Holm};

use super::*;
use crate::bank::transfer::{self, Stage, TransferStatus};
use crate::bank::{Balance, Close, Deposit, Open};

const AMOUNT: u64 = 10;

async fn bank() -> Holm {
    let builder = Holm::builder().entity::<Account>().entity::<Transfer>();
    builder.in_memory().shards(1).start().await.unwrap()
}

/// An account on which so much was paid.
async fn account(holm: &Holm, id: &str, amount: u64) -> EntityRef<Account> {
    let account = holm.entity::<Account>(id);
    account.ask(Open { owner: "Ada".into() }).await.unwrap();
    account.ask(Deposit { amount }).await.unwrap();
    account
}

async fn start(holm: &Holm, id: &str, from: &str, to: &str) {
    let start = transfer::Start { from: from.into(), to: to.into(), amount: AMOUNT };
    holm.entity::<Transfer>(id).ask(start).await.unwrap();
}

/// Where a transfer ended, when it has.
async fn end(holm: &Holm, id: &str) -> Option<Stage> {
    let stage = holm.entity::<Transfer>(id).ask(TransferStatus {}).await.unwrap().stage;
    let under_way = matches!(stage, Stage::Withdrawing | Stage::Depositing | Stage::Refunding);
    (!under_way).then_some(stage)
}

/// Where a transfer ends.
async fn ended(holm: &Holm, id: &str) -> Stage {
    let ended = async {
        loop {
            if let Some(stage) = end(holm, id).await {
                return stage;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap()
}

/// Closes an account between the withdrawal and the refund of a transfer that nobody takes, until it was in time.
async fn strand(holm: &Holm) {
    for number in 0..1_000 {
        let (id, from) = (format!("late{number}"), format!("hasty{number}"));
        let hasty = account(holm, &from, AMOUNT).await;
        start(holm, &id, &from, "nobody").await;
        // Who is looked at too late has the money back already.
        while hasty.ask(Balance {}).await.unwrap() > 0 && end(holm, &id).await.is_none() {}
        hasty.ask(Close {}).await.unwrap();
        if ended(holm, &id).await == Stage::Stranded {
            return;
        }
    }
    panic!("the refund was always first");
}

/// What happened, in order.
async fn story() -> Vec<Fact> {
    let holm = bank().await;
    account(&holm, "ada", 100).await;
    account(&holm, "bob", 5).await;
    // Both at once, so that one is in the middle when the other is.
    start(&holm, "there", "ada", "bob").await;
    start(&holm, "nowhere", "ada", "nobody").await;
    start(&holm, "beyond", "bob-who-has-nothing", "ada").await;
    let stages =
        [("there", Stage::Completed), ("nowhere", Stage::Refunded), ("beyond", Stage::Failed)];
    for (id, stage) in stages {
        assert_eq!(ended(&holm, id).await, stage, "{id}");
    }
    strand(&holm).await;
    let bus = holm.bus();
    let (ends, mut facts) = (bus.ends().await.unwrap(), Vec::new());
    let mut log = bus.subscribe(Books.interest(), Start::Beginning).await.unwrap();
    while let Some(fact) = log.next_until(&ends).await.unwrap() {
        facts.push(fact);
    }
    holm.shutdown().await;
    facts
}

/// Enters the facts one by one, and gives the totals behind each.
fn entered<'f>(facts: impl IntoIterator<Item = &'f Fact>) -> Vec<BookTotals> {
    let mut connection = Connection::open_in_memory().unwrap();
    let mut tx = connection.transaction().unwrap();
    Books.prepare(&mut tx).unwrap();
    let mut enter = |fact: &Fact| {
        Books.handle(&mut tx, std::slice::from_ref(fact)).unwrap();
        totals(&tx).unwrap()
    };
    facts.into_iter().map(&mut enter).collect()
}

/// Promise G8: at no moment does money appear or vanish, also not between the steps of a transfer, one that comes back and one that is stranded.
#[tokio::test]
async fn money_is_somewhere_at_every_moment() {
    let facts = story().await;
    let moments = entered(&facts);
    for (fact, totals) in facts.iter().zip(&moments) {
        let (name, entity) = (fact.name(), fact.address());
        assert!(totals.is_balanced(), "{totals:?} after {name} of {entity}");
    }
    assert!(moments.iter().any(|totals| totals.on_its_way >= AMOUNT as i64), "{moments:?}");
    let asked = |name: &str| {
        let of_people =
            facts.iter().filter(|fact| fact.causation_id() == fact.command_id().causes());
        of_people.filter(|fact| fact.name() == name).count() as u64
    };
    // All but the two that were opened first are hasty, and brought the amount of one transfer.
    let hasty = asked("Opened") - 2;
    let end = moments.last().unwrap();
    assert_eq!((end.on_its_way, end.stranded), (0, AMOUNT as i64), "{end:?}");
    assert_eq!(end.paid_in, (105 + hasty * AMOUNT) as i64, "no transfer pays in");
}

/// What would be a loss or a gift is seen as one: a movement of a transfer that is over and in no account.
#[tokio::test]
async fn money_that_vanishes_or_appears_is_seen() {
    let facts = story().await;
    let moved = |fact: &Fact| fact.causation_id() != fact.command_id().causes();
    for (id, name) in [("bob", "Deposited"), ("ada", "Withdrawn"), ("ada", "Deposited")] {
        let left_out = |fact: &Fact| {
            fact.address().entity_type() == Account::TYPE
                && (fact.address().id(), fact.name()) == (id, name)
                && moved(fact)
        };
        let without = facts.iter().filter(|fact| !left_out(fact)).collect::<Vec<_>>();
        assert!(without.len() < facts.len());
        let end = *entered(without).last().unwrap();
        assert!(!end.is_balanced(), "without {name} of {id}: {end:?}");
    }
}

/// Shards are read side by side: whether the account or the transfer is entered first, the totals come out the same.
#[tokio::test]
async fn the_order_of_shards_does_not_matter() {
    let facts = story().await;
    let (transfers, accounts): (Vec<_>, Vec<_>) =
        facts.iter().partition(|fact| fact.address().entity_type() == Transfer::TYPE);
    let end = *entered(&facts).last().unwrap();
    assert_eq!(entered(transfers.iter().chain(&accounts).copied()).last(), Some(&end));
    assert_eq!(entered(accounts.iter().chain(&transfers).copied()).last(), Some(&end));
}
