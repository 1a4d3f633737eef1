//! Subscribers inside the nodes: each node is a member of one durable subscription, and follows everything from now on by itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Clock, Limits, Offset, SeededEntropy, ShardId};
use holm_runtime::bus::{Bus, Fact, Interest, Position, Start, SubscribeError, Subscription};
use holm_runtime::{Asker, Caller};
use holm_sharding::ClusterNode;

use crate::history::SeenFact;

/// The name of the durable subscription.
const NAME: &str = "followers";

/// How often one that gave up begins again.
const AGAIN: Duration = Duration::from_millis(500);

/// What all subscribers of one world were given. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Followed(Rc<RefCell<Given>>);

#[derive(Default)]
struct Given {
    facts: Vec<SeenFact>,
    /// How far the group is, as its members know.
    passed: BTreeMap<ShardId, Offset>,
    followers: u64,
    problems: Vec<String>,
}

impl Followed {
    /// Everything that was given out, and what went wrong.
    pub(super) fn take(&self) -> (Vec<SeenFact>, Vec<String>) {
        let mut given = self.0.borrow_mut();
        (std::mem::take(&mut given.facts), std::mem::take(&mut given.problems))
    }

    /// Whether the group has passed these ends.
    pub(super) fn has_passed(&self, ends: &BTreeMap<ShardId, Offset>) -> bool {
        let given = self.0.borrow();
        ends.iter().all(|(shard, end)| given.passed.get(shard).copied().unwrap_or_default() >= *end)
    }

    /// The shards in which the group has not passed these ends, with how far it is.
    pub(super) fn behind(&self, ends: &BTreeMap<ShardId, Offset>) -> Vec<String> {
        let given = self.0.borrow();
        let passed = |shard| given.passed.get(shard).copied().unwrap_or_default();
        let behind = ends.iter().filter(|(shard, end)| passed(shard) < **end);
        behind.map(|(shard, end)| format!("shard {shard}: {} of {end}", passed(shard))).collect()
    }

    fn note(&self, follower: u64, fact: &Fact) {
        self.0.borrow_mut().facts.push(SeenFact {
            follower,
            shard: fact.shard(),
            offset: fact.offset(),
            index: fact.index(),
            entity: fact.address().clone(),
            sequence: fact.sequence(),
            event: fact.name().into(),
        });
    }

    fn pass(&self, position: &Position) {
        let mut given = self.0.borrow_mut();
        for (shard, offset) in &position.0 {
            let passed = given.passed.entry(*shard).or_default();
            *passed = (*passed).max(*offset);
        }
    }

    fn number(&self) -> u64 {
        let mut given = self.0.borrow_mut();
        given.followers += 1;
        given.followers
    }

    fn problem(&self, what: String) {
        self.0.borrow_mut().problems.push(what);
    }
}

/// Follows from a node, until the process ends.
pub(super) fn follow(
    node: &ClusterNode,
    clock: Arc<dyn Clock>,
    (limits, shards): (&Limits, u32),
    seed: u64,
    followed: &Followed,
) {
    let router = Arc::new(node.router().clone());
    let asker = Arc::clone(&router) as Arc<dyn Asker>;
    let caller = Caller::new(asker, clock, limits.ask_timeout, SeededEntropy::new(seed));
    let bus = Bus::new(caller, router, shards);
    drop(tokio::task::spawn_local(in_the_group(bus.clone(), followed.clone())));
    drop(tokio::task::spawn_local(alone(bus, followed.clone())));
}

async fn in_the_group(bus: Bus, followed: Followed) {
    loop {
        let Err(error) = member(&bus, &followed).await;
        tracing::info!(%error, "a member of the subscription begins again");
        match error {
            // A log that is damaged or whose replica is being replaced; the next try finds another.
            SubscribeError::Feed(_) | SubscribeError::Group { .. } => {}
            error => {
                followed.problem(format!("a member of the subscription was turned away: {error}"))
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn member(
    bus: &Bus,
    followed: &Followed,
) -> Result<std::convert::Infallible, SubscribeError> {
    let mut facts = bus.subscribe_durable(NAME, Interest::everything(), Start::Beginning).await?;
    loop {
        // What is passed over is heard of too, so the wait is cut into pieces.
        let next = tokio::time::timeout(AGAIN, facts.next()).await;
        if let Ok(fact) = next {
            followed.note(0, &fact?);
        }
        followed.pass(facts.position());
    }
}

async fn alone(bus: Bus, followed: Followed) {
    loop {
        let number = followed.number();
        if let Ok(mut facts) = bus.subscribe(Interest::everything(), Start::Now).await {
            while let Ok(fact) = Subscription::next(&mut facts).await {
                followed.note(number, &fact);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
