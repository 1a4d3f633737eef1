//! Subscribers that fall behind: told once, and told once when it is over.

use std::time::Duration;

use holm_runtime::bus::{Bus, Interest, LagLimit, Start, Subscription};
use holm_runtime::{FailureEvent, FailureFact, FailureKind, FailureLog, Subject};

use super::Node;
use crate::account::Account;

const LIMIT: LagLimit =
    LagLimit { behind: Duration::from_secs(10), lasting: Duration::from_millis(80) };

/// Three looks of the watcher.
const SOME_LOOKS: Duration = Duration::from_millis(80);

impl Node {
    fn strict(&self) -> Bus {
        self.bus().lag_limit(LIMIT)
    }

    async fn failures(&self) -> Subscription {
        self.host.connect_to_itself();
        let failures = Interest::of::<FailureLog>();
        self.bus().unwatched().subscribe(failures, Start::Beginning).await.unwrap()
    }
}

async fn next(failures: &mut Subscription) -> FailureFact {
    let fact = tokio::time::timeout(Duration::from_secs(10), failures.next()).await;
    match fact.expect("something was told").unwrap().event::<FailureLog>().unwrap() {
        FailureEvent::Failed { fact } => fact,
        settled => panic!("{settled:?}"),
    }
}

async fn nothing_more(failures: &mut Subscription) {
    let more = tokio::time::timeout(SOME_LOOKS * 3, failures.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// Promises G7 and G8: a durable subscriber that hangs in its handler is a fact, once, and so is that it has caught up.
#[tokio::test]
async fn a_durable_subscriber_that_hangs_is_told() {
    let node = Node::start().await;
    let mut failures = node.failures().await;
    let mut mail = node
        .strict()
        .subscribe_durable("mail", Interest::of::<Account>(), Start::Now)
        .await
        .unwrap();
    node.deposits(6, 1).await;
    mail.next().await.unwrap();
    nothing_more(&mut failures).await;
    node.clock.advance(Duration::from_secs(12));
    let fact = next(&mut failures).await;
    assert_eq!(fact.kind, FailureKind::SubscriberLagging);
    assert_eq!(fact.subject, Subject::Reader("subscription mail".into()));
    assert!(fact.reason().starts_with("12s behind"), "{}", fact.reason());
    assert_eq!(mail.lag(), Duration::from_secs(12));
    nothing_more(&mut failures).await;

    for _ in 1..6 {
        mail.next().await.unwrap();
    }
    assert!(tokio::time::timeout(SOME_LOOKS, mail.next()).await.is_err());
    assert_eq!(mail.lag(), Duration::ZERO);
    // It has to go on being asked, as a subscriber does.
    let waiting = async {
        loop {
            drop(tokio::time::timeout(SOME_LOOKS, mail.next()).await);
        }
    };
    let fact = tokio::select! {
        () = waiting => unreachable!("it waits for ever"),
        fact = next(&mut failures) => fact,
    };
    assert_eq!(fact.kind, FailureKind::SubscriberCaughtUp);
    nothing_more(&mut failures).await;
    node.host.stop().await;
}

/// Promise G7: the same for a live subscription, which says where it is; one that ended is silent.
#[tokio::test]
async fn a_live_subscriber_that_hangs_is_told_and_one_that_went_is_not() {
    let node = Node::start().await;
    let mut failures = node.failures().await;
    let interest = Interest::of::<Account>();
    let mut hangs = node.strict().subscribe(interest.clone(), Start::Now).await.unwrap();
    let mut goes = node.strict().reader("goes").subscribe(interest, Start::Now).await.unwrap();
    node.deposits(3, 1).await;
    hangs.next().await.unwrap();
    goes.next().await.unwrap();
    drop(goes);
    node.clock.advance(Duration::from_secs(60));
    let fact = next(&mut failures).await;
    assert_eq!(fact.subject, Subject::Reader("live subscription".into()));
    nothing_more(&mut failures).await;
    node.host.stop().await;
}

/// Whoever reads from the beginning what is long past does not lag.
#[tokio::test]
async fn reading_the_past_is_no_lag() {
    let node = Node::start().await;
    let mut failures = node.failures().await;
    node.deposits(6, 1).await;
    node.clock.advance(Duration::from_secs(3_600));
    let interest = Interest::of::<Account>();
    let mut facts = node.strict().subscribe(interest, Start::Beginning).await.unwrap();
    facts.next().await.unwrap();
    nothing_more(&mut failures).await;
    node.host.stop().await;
}

/// Law O21: whoever reads a log from its beginning does not lag because it wants something else in the midst of it.
#[tokio::test]
async fn a_reader_of_the_past_may_change_its_interest() {
    let node = Node::start().await;
    let mut failures = node.failures().await;
    node.deposits(6, 1).await;
    let mut facts =
        node.strict().subscribe(Interest::of::<Account>(), Start::Beginning).await.unwrap();
    node.clock.advance(Duration::from_secs(12));
    let first = facts.next().await.unwrap();
    facts.set_interest(Interest::of::<Account>().event("Deposited"));
    facts.include([first.address().clone()]).unwrap();
    assert_eq!(facts.next().await.unwrap().id(), first.id(), "from its beginning");
    // This one is read from the log, and is as old.
    facts.next().await.unwrap();
    nothing_more(&mut failures).await;
    node.host.stop().await;
}
