//! Subscribers inside the nodes: each node is a member of one durable subscription, and follows everything from now on by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{Offset, ShardId};
use holm_runtime::bus::{Bus, Fact, Interest, Position, Start, SubscribeError, Subscription};

use super::met::Met;
use crate::checks::{GROUP, SHARED};
use crate::history::SeenFact;
use crate::sometimes::Situation;

/// The name of the durable subscription.
const NAME: &str = "followers";

/// How often one that gave up begins again.
const AGAIN: Duration = Duration::from_millis(500);

/// What all subscribers of one world were given. Clones share it.
#[derive(Clone)]
pub(super) struct Followed {
    given: Arc<Mutex<Given>>,
    met: Met,
}

#[derive(Default)]
struct Given {
    facts: Vec<SeenFact>,
    /// How far each group is, as its members know.
    passed: BTreeMap<u64, BTreeMap<ShardId, Offset>>,
    /// Which process handled records of a shard last, and how far.
    handled: BTreeMap<ShardId, (u64, Offset)>,
    followers: u64,
    problems: Vec<String>,
}

impl Followed {
    pub(super) fn new(met: &Met) -> Self {
        Self { given: Arc::default(), met: met.clone() }
    }

    /// Everything that was given out, and what went wrong.
    pub(super) fn take(&self) -> (Vec<SeenFact>, Vec<String>) {
        let mut given = self.lock();
        (std::mem::take(&mut given.facts), std::mem::take(&mut given.problems))
    }

    /// Whether a group has passed these ends.
    pub(super) fn has_passed(&self, group: u64, ends: &BTreeMap<ShardId, Offset>) -> bool {
        self.behind(group, ends).is_empty()
    }

    /// The shards in which a group has not passed these ends, with how far it is.
    pub(super) fn behind(&self, group: u64, ends: &BTreeMap<ShardId, Offset>) -> Vec<String> {
        let given = self.lock();
        let of_group = given.passed.get(&group);
        let passed = |shard| of_group.and_then(|it| it.get(shard)).copied().unwrap_or_default();
        let behind = ends.iter().filter(|(shard, end)| passed(shard) < **end);
        behind.map(|(shard, end)| format!("shard {shard}: {} of {end}", passed(shard))).collect()
    }

    fn note(&self, follower: u64, fact: &Fact) {
        self.lock().facts.push(SeenFact {
            follower,
            shard: fact.shard(),
            offset: fact.offset(),
            index: fact.index(),
            entity: fact.address().clone(),
            sequence: fact.sequence(),
            event: fact.name().into(),
        });
    }

    /// The process `by` has handled a record, as a member of the shared projection.
    pub(super) fn handle(&self, by: u64, record: &[Fact]) {
        record.iter().for_each(|fact| self.note(SHARED, fact));
        let Some(fact) = record.first() else { return };
        let mut given = self.lock();
        let (last_by, last) =
            given.handled.get(&fact.shard()).copied().unwrap_or((by, Offset::ZERO));
        if fact.offset() > last {
            self.met.met_times(Situation::SharedTakenOver, (last_by != by).into());
            given.handled.insert(fact.shard(), (by, fact.offset()));
        }
    }

    /// A group is so far.
    pub(super) fn pass(&self, group: u64, position: &Position) {
        let mut given = self.lock();
        let of_group = given.passed.entry(group).or_default();
        for (shard, offset) in &position.0 {
            let passed = of_group.entry(*shard).or_default();
            *passed = (*passed).max(*offset);
        }
    }

    fn number(&self) -> u64 {
        let mut given = self.lock();
        given.followers += 1;
        given.followers
    }

    pub(super) fn problem(&self, what: String) {
        self.lock().problems.push(what);
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows from a node, until the process ends.
pub(super) fn follow(bus: Bus, followed: &Followed) {
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
            followed.note(GROUP, &fact?);
        }
        followed.pass(GROUP, facts.position());
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
