//! Following by tags.

use std::time::Duration;

use holm_runtime::bus::{Bus, FeedError, Interest, Start, Subscription};
use holm_runtime::{
    Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Registry, UpcastError,
};
use serde::{Deserialize, Serialize};

use super::Node;

/// What was paid: how often is all it knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Till {
    payments: u64,
}

#[derive(Debug, Event, Serialize, Deserialize)]
#[event(tags = by_content)]
pub(super) enum TillEvent {
    Opened {},
    #[event(tag = "money", tag = "in")]
    Paid {
        amount: u64,
    },
    #[event(tag = "money", version = 2)]
    Refunded {
        amount: u64,
    },
}

fn by_content(event: &TillEvent) -> Vec<String> {
    match event {
        TillEvent::Paid { amount: 13 } => panic!("it cannot be said"),
        TillEvent::Paid { amount } | TillEvent::Refunded { amount } if *amount >= 100 => {
            vec!["large".to_owned(), format!("hundreds-{}", amount / 100)]
        }
        _ => Vec::new(),
    }
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(super) struct Note {
    pub(super) events: Vec<TillEvent>,
}

impl Entity for Till {
    const TYPE: &'static str = "till";
    type Event = TillEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &TillEvent) {
        self.payments += u64::from(matches!(event, TillEvent::Paid { .. }));
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Note>();
    }
}

impl Handle<Note> for Till {
    fn handle(
        &self,
        Note { events }: Note,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Ok(cx.persist_all(events).no_reply())
    }
}

/// The same type as another version of the program knows it: what is a refund here was called otherwise.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Newer {}

#[derive(Debug, Event, Serialize, Deserialize)]
#[event(upcast = renamed)]
enum NewerEvent {
    #[event(tag = "returned")]
    MoneyReturned {
        amount: u64,
    },
    Other {},
}

fn renamed(name: &str, _: u16, _: &[u8]) -> Result<NewerEvent, UpcastError> {
    match name {
        "Refunded" => Ok(NewerEvent::MoneyReturned { amount: 0 }),
        _ => Ok(NewerEvent::Other {}),
    }
}

impl Entity for Newer {
    const TYPE: &'static str = "till";
    type Event = NewerEvent;
    type Rejection = NoRejection;
    fn apply(&mut self, _: &NewerEvent) {}
    fn commands(_: &mut Commands<Self>) {}
}

fn knowing(node: &Node) -> Bus {
    node.bus().knowing(Registry::new().entity::<Till>())
}

async fn note(node: &Node, events: Vec<TillEvent>) {
    let till = holm_runtime::EntityRef::<Till>::new(node.caller.clone(), "t");
    till.ask(Note { events }).await.unwrap();
}

pub(super) fn some() -> Vec<TillEvent> {
    vec![
        TillEvent::Opened {},
        TillEvent::Paid { amount: 5 },
        TillEvent::Refunded { amount: 250 },
        TillEvent::Paid { amount: 300 },
    ]
}

/// The sequence numbers of what comes.
async fn seen(mut facts: Subscription) -> Vec<u64> {
    let mut sequences = Vec::new();
    while let Ok(fact) = tokio::time::timeout(Duration::from_millis(60), facts.next()).await {
        sequences.push(fact.unwrap().sequence().get());
    }
    sequences
}

/// Promise G8, law E9: tags by name and by content, one of them where several are wanted, together with the other conditions.
#[tokio::test]
async fn facts_are_filtered_by_their_tags() {
    let node = Node::start().await;
    note(&node, some()).await;
    let till = Interest::of::<Till>;
    for (interest, expected) in [
        (till().tag("money"), vec![2, 3, 4]),
        (till().tag("in"), vec![2, 4]),
        (till().tag("large"), vec![3, 4]),
        (till().tag("hundreds-2"), vec![3]),
        (till().tag("in").tag("hundreds-2"), vec![2, 3, 4]),
        (till().tag("money").event("Refunded"), vec![3]),
        (Interest::everything().tag("nothing"), vec![]),
    ] {
        let facts = knowing(&node).subscribe(interest.clone(), Start::Beginning).await.unwrap();
        assert_eq!(seen(facts).await, expected, "{interest:?}");
    }
    node.host.stop().await;
}

/// Tags are those that the program says now: an event that is called otherwise today has the tags of today.
#[tokio::test]
async fn tags_are_those_of_the_program_that_reads() {
    let node = Node::start().await;
    note(&node, some()).await;
    let newer = node.bus().knowing(Registry::new().entity::<Newer>());
    let interest = Interest::everything().tag("returned");
    let facts = newer.subscribe(interest, Start::Beginning).await.unwrap();
    assert_eq!(seen(facts).await, [3]);
    node.host.stop().await;
}

/// Promise G8: where tags cannot be found nothing is left out in silence; nor does a panic that looks for them end more than the following.
#[tokio::test]
async fn tags_that_cannot_be_found_are_an_error() {
    let node = Node::start().await;
    let interest = || Interest::everything().tag("large");
    let mut stranger = node.bus().subscribe(interest(), Start::Now).await.unwrap();
    let mut other = node.bus().knowing(Registry::new());
    other = other.unwatched();
    let mut other = other.subscribe(interest(), Start::Now).await.unwrap();
    let mut knows = knowing(&node).subscribe(interest(), Start::Now).await.unwrap();
    note(&node, vec![TillEvent::Paid { amount: 13 }, TillEvent::Paid { amount: 100 }]).await;
    for (facts, said) in [
        (&mut stranger, "has no registry"),
        (&mut other, "no entity type"),
        (&mut knows, "panicked"),
    ] {
        for _ in 0..2 {
            let error = facts.next().await.unwrap_err();
            assert!(matches!(error, FeedError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
    node.host.stop().await;
}
