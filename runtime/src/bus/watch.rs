//! Watching one subscriber from beside: where it is, and a task that tells when it lags. A subscriber that hangs in its handler cannot tell it itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use holm_core::{FailureId, NodeId, Offset, SeededEntropy, ShardId, Timestamp};
use metrics::gauge;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::lag::{Episode, LagLimit, Word};
use super::position::Start;
use crate::entity_ref::Caller;
use crate::failure::{FailureFact, FailureKind, Subject};
use crate::failures::tell;

/// How often a subscriber is looked at. With a short `lasting`, four times in that.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(20);

/// Where a subscriber is, as it notes it itself.
#[derive(Debug)]
pub(super) struct Mark {
    /// It did not begin with what happens now: what it reads first is long past.
    reads_the_past: bool,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// When that happened which it was given last of each shard.
    given: BTreeMap<ShardId, Timestamp>,
    /// It follows what happens since then, and has not asked for any of it yet.
    not_begun_since: Option<Timestamp>,
    /// Shards whose end it has seen while it still works on what it was given.
    ended: BTreeSet<ShardId>,
    /// It was given something and did not come back yet.
    holding: bool,
    /// Shards that it reads from the beginning and has not read to the end yet. That is no lag.
    first_reading: BTreeSet<ShardId>,
}

impl Mark {
    pub(super) fn of(start: &Start, now: Timestamp) -> Arc<Self> {
        let reads_the_past = *start != Start::Now;
        let not_begun_since = (!reads_the_past).then_some(now);
        let places = Mutex::new(Places { not_begun_since, ..Places::default() });
        Arc::new(Self { reads_the_past, places })
    }

    pub(super) fn follows(&self, shard: ShardId, offset: Offset) {
        if self.reads_the_past && offset == Offset::ZERO {
            self.lock().first_reading.insert(shard);
        }
    }

    pub(super) fn leaves(&self, shard: ShardId) {
        let mut places = self.lock();
        places.given.remove(&shard);
        places.first_reading.remove(&shard);
    }

    /// It is given something that happened at `at`.
    pub(super) fn given(&self, shard: ShardId, at: Timestamp) {
        let mut places = self.lock();
        places.given.insert(shard, at);
        places.ended.remove(&shard);
        places.holding = true;
    }

    /// It asks for more: what it was given is handled.
    pub(super) fn comes_back(&self) {
        let mut places = self.lock();
        (places.holding, places.not_begun_since) = (false, None);
        for shard in std::mem::take(&mut places.ended) {
            places.given.remove(&shard);
        }
    }

    /// There is nothing more in this shard.
    pub(super) fn at_end(&self, shard: ShardId) {
        let mut places = self.lock();
        places.first_reading.remove(&shard);
        if places.holding {
            places.ended.insert(shard);
        } else {
            places.given.remove(&shard);
        }
    }

    /// How old the oldest is that it was given and has not gone beyond. Before it asks for the first time nobody looks what there is for it, so it is as far
    /// behind as that is ago.
    pub(super) fn behind(&self, now: Timestamp) -> Duration {
        let places = self.lock();
        let oldest = places.given.values().chain(&places.not_begun_since).min().copied();
        oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
    }

    fn is_first_reading(&self) -> bool {
        !self.lock().first_reading.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of whom is watched.
pub(super) struct Watched {
    /// As facts name it.
    pub(super) reader: Box<str>,
    /// As the gauge names it; none where it has no name.
    pub(super) gauge: Option<Box<str>>,
    pub(super) limit: LagLimit,
    pub(super) node: NodeId,
    pub(super) caller: Arc<Caller>,
}

/// Watches for as long as somebody holds the mark. Without a runtime nobody follows anything, so there is nothing to watch either.
pub(super) fn watch(mark: &Arc<Mark>, watched: Watched) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(look_on(Arc::downgrade(mark), watched)));
    }
}

async fn look_on(mark: Weak<Mark>, watched: Watched) {
    let (began, mut episode) = (Instant::now(), Episode::new(watched.limit));
    let pause = (watched.limit.lasting / 4).clamp(SHORTEST_LOOK, LOOK);
    loop {
        tokio::time::sleep(pause).await;
        let Some((behind, first_reading)) =
            mark.upgrade().map(|it| (it.behind(watched.caller.now()), it.is_first_reading()))
        else {
            // It is over, and so is its lag.
            return watched.measure(Duration::ZERO);
        };
        watched.measure(behind);
        let counts = if first_reading { Duration::ZERO } else { behind };
        if let Some(word) = episode.look(counts, began.elapsed()) {
            let is_gone = || mark.strong_count() == 0;
            // One at a time: while the failure log cannot be reached nothing else is told.
            tell(&watched.caller, watched.fact(word), is_gone).await;
        }
    }
}

impl Watched {
    fn measure(&self, behind: Duration) {
        if let Some(name) = &self.gauge {
            gauge!("holm.subscription.lag.time", "subscription" => name.to_string())
                .set(behind.as_secs_f64());
        }
    }

    fn fact(&self, word: Word) -> FailureFact {
        let now = self.caller.now();
        let id = FailureId::generate(now, &mut SeededEntropy::new(self.caller.draw()));
        let LagLimit { behind: limit, lasting } = self.limit;
        let (kind, reason) = match word {
            Word::Lags { behind } => (
                FailureKind::SubscriberLagging,
                format!("{behind:.0?} behind, longer than {limit:.0?} for {lasting:.0?}"),
            ),
            Word::CaughtUp { lagged } => (
                FailureKind::SubscriberCaughtUp,
                format!("it has caught up; it lagged for {lagged:.0?}"),
            ),
        };
        let reader = &*self.reader;
        match word {
            Word::Lags { .. } => tracing::warn!(reader, reason, "a subscriber lags"),
            Word::CaughtUp { .. } => tracing::info!(reader, reason, "a subscriber has caught up"),
        }
        let subject = Subject::Reader(self.reader.clone());
        let fact = FailureFact::new(id, kind, subject, now).because(&reason);
        FailureFact { node: self.node, ..fact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);

    fn behind(mark: &Mark) -> u64 {
        mark.behind(Timestamp::from_millis(10_000)).as_millis() as u64
    }

    #[test]
    fn it_is_as_far_behind_as_what_it_works_on() {
        let mark = Mark::of(&Start::Now, Timestamp::from_millis(2_000));
        assert_eq!(behind(&mark), 8_000, "it never asked");
        mark.comes_back();
        assert_eq!(behind(&mark), 0);
        mark.given(SHARD, Timestamp::from_millis(4_000));
        mark.given(ShardId(5), Timestamp::from_millis(9_000));
        assert_eq!(behind(&mark), 6_000);
        mark.at_end(SHARD);
        assert_eq!(behind(&mark), 6_000, "it has not come back");
        mark.comes_back();
        assert_eq!(behind(&mark), 1_000);
        mark.at_end(ShardId(5));
        assert_eq!(behind(&mark), 0);
    }

    #[test]
    fn a_first_reading_is_no_lag() {
        let mark = Mark::of(&Start::Beginning, Timestamp::EPOCH);
        assert_eq!(behind(&mark), 0);
        mark.follows(SHARD, Offset::ZERO);
        mark.follows(ShardId(5), Offset(7));
        assert!(mark.is_first_reading());
        mark.at_end(SHARD);
        assert!(!mark.is_first_reading());
    }
}
