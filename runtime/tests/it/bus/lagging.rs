//! Subscribers that fall behind: told once, and told once when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_runtime::bus::{Bus, Interest, LagLimit, Start, Subscription};
use holm_runtime::{FailureEvent, FailureFact, FailureKind, FailureLog, Subject};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::Node;
use crate::account::Account;

const LIMIT: LagLimit =
    LagLimit { behind: Duration::from_secs(10), lasting: Duration::from_millis(80) };

const SHORT: Duration = Duration::from_millis(5);

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

/// Keeps the gauges of one thread.
#[derive(Default)]
struct Gauges(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn seconds(&self, key: &str) -> Option<f64> {
        let gauges = self.0.lock().unwrap();
        gauges.get(key).map(|it| f64::from_bits(it.load(Ordering::Relaxed)))
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<_> =
            key.labels().map(|it| format!("{}={}", it.key(), it.value())).collect();
        let key = format!("{} {}", key.name(), labels.join(","));
        Gauge::from_arc(Arc::clone(self.0.lock().unwrap().entry(key).or_default()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Promise G8: how far a subscriber with a name is behind is measured, of a durable one and of a live one, and is nothing once it ended.
#[tokio::test]
async fn the_lag_of_a_subscriber_is_measured() {
    let gauges = Gauges::default();
    let _here = metrics::set_default_local_recorder(&gauges);
    let node = Node::start().await;
    let until = async |name: &str, seconds: f64| {
        let key = format!("holm.subscription.lag.time subscription={name}");
        while gauges.seconds(&key) != Some(seconds) {
            tokio::time::sleep(SHORT).await;
        }
    };
    let interest = Interest::of::<Account>();
    let bus = node.strict();
    let mut mail = bus.subscribe_durable("mail", interest.clone(), Start::Now).await.unwrap();
    let mut page = bus.reader("page").subscribe(interest, Start::Now).await.unwrap();
    node.deposits(3, 1).await;
    mail.next().await.unwrap();
    page.next().await.unwrap();
    node.clock.advance(Duration::from_secs(7));
    until("mail", 7.0).await;
    until("page", 7.0).await;
    drop((mail, page));
    until("mail", 0.0).await;
    until("page", 0.0).await;
    node.host.stop().await;
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

/// Promises G7 and G8: one that begins with now and never asks for anything is told too, and has caught up once it asked.
#[tokio::test]
async fn a_subscriber_that_never_asks_is_told() {
    let node = Node::start().await;
    let mut failures = node.failures().await;
    let interest = Interest::of::<Account>();
    let idle = node.strict().subscribe(interest.clone(), Start::Now).await.unwrap();
    let mut mail = node.strict().subscribe_durable("mail", interest, Start::Now).await.unwrap();
    node.deposits(1, 1).await;
    nothing_more(&mut failures).await;
    node.clock.advance(Duration::from_secs(12));
    let mut told = BTreeSet::new();
    while told.len() < 2 {
        let fact = next(&mut failures).await;
        assert_eq!(fact.kind, FailureKind::SubscriberLagging);
        assert!(told.insert(fact.subject.to_string()), "once each");
    }
    assert_eq!(mail.lag(), Duration::from_secs(12));
    drop(idle);
    mail.next().await.unwrap();
    assert!(tokio::time::timeout(SOME_LOOKS, mail.next()).await.is_err());
    assert_eq!(mail.lag(), Duration::ZERO);
    assert_eq!(next(&mut failures).await.kind, FailureKind::SubscriberCaughtUp);
    node.host.stop().await;
}

/// Whoever takes record by record and has finished them all is not behind.
#[tokio::test]
async fn who_finished_every_record_does_not_lag() {
    let node = Node::start().await;
    let interest = Interest::of::<Account>();
    let mut mail = node.strict().subscribe_durable("mail", interest, Start::Now).await.unwrap();
    node.deposits(3, 1).await;
    node.clock.advance(Duration::from_secs(12));
    for _ in 0..3 {
        let record = mail.next_record().await.unwrap();
        assert_eq!(mail.lag(), Duration::from_secs(12));
        mail.finish(&record);
    }
    while mail.lag() > Duration::ZERO {
        drop(tokio::time::timeout(SHORT, mail.next_record()).await);
    }
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
