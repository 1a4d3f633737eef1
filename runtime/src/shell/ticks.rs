//! The ticks of the shards of one host, at the same moments: each thread of a node that does nothing is woken once for many of them.

use std::sync::Arc;
use std::time::Duration;

use holm_core::ShardId;
use tokio::time::{Instant, MissedTickBehavior};

use super::intake::Intake;

/// Shards that tick together, on all threads: more when there are so many that the moments do not suffice. What ticks holds up the commands of others on its thread.
const TOGETHER: u32 = 64;

/// Moments in the time from one tick of a shard to its next, for as many groups of shards.
const PHASES: u32 = 16;

/// When shards tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    begun: Instant,
    every: Duration,
}

impl Ticks {
    pub(crate) fn new(begun: Instant, every: Duration) -> Self {
        // Zero would panic in tokio; a millisecond is its grain anyway.
        Self { begun, every: every.max(Duration::from_millis(1)) }
    }

    /// Ticks at once and from then on with the others. A task of its own, so that a turn need not look at a timer.
    pub(super) async fn run(self, shard: ShardId, intake: Arc<Intake>) {
        let mut ticks = tokio::time::interval_at(self.next(shard, Instant::now()), self.every);
        // Who was late is with the others again.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while intake.tick() {
            ticks.tick().await;
        }
    }

    /// The first moment after `now` at which the shard ticks. The host may have begun later than now: its clock was another when time is paused.
    fn next(self, shard: ShardId, now: Instant) -> Instant {
        let begun = self.begun + self.every / PHASES * (shard.0 / TOGETHER % PHASES);
        let every = self.every.as_nanos();
        let ahead = begun.saturating_duration_since(now).as_nanos() % every;
        let into = now.saturating_duration_since(begun).as_nanos() % every;
        let left = if ahead > 0 { ahead } else { every - into };
        now + u64::try_from(left).map_or(self.every, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::super::intake::TakingEnd;
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn shards_tick_together_whenever_they_began() {
        let begun = Instant::now();
        let ticks = Ticks::new(begun, EVERY);
        for shard in [0, 7, 63, 16 * 64] {
            for (now, next) in [(0, 100), (1, 100), (99, 100), (100, 200), (1_234, 1_300)] {
                assert_eq!(ticks.next(ShardId(shard), begun + ms(now)), begun + ms(next));
                let later = Ticks::new(begun + ms(2_000), EVERY);
                assert_eq!(later.next(ShardId(shard), begun + ms(now)), begun + ms(next));
            }
        }
    }

    /// However many shards there are, each waits no longer than from one tick to the next.
    #[test]
    fn many_shards_tick_at_several_moments() {
        let begun = Instant::now();
        let ticks = Ticks::new(begun, EVERY);
        for now in [begun, begun + ms(1_234)] {
            let next = |shard| ticks.next(ShardId(shard), now);
            let mut moments: Vec<_> = (0..4_096).map(next).collect();
            assert!(moments.iter().all(|next| *next > now && *next <= now + EVERY));
            moments.sort();
            moments.dedup();
            assert_eq!(moments.len(), 16);
        }
    }

    #[tokio::test]
    async fn the_first_tick_is_at_once_and_the_last_when_nobody_takes_them() {
        let intake = Arc::new(Intake::new(1));
        let begin = |every| Ticks::new(Instant::now(), every).run(ShardId(0), Arc::clone(&intake));
        let rare = tokio::spawn(begin(Duration::from_secs(3_600)));
        tokio::task::yield_now().await;
        assert!(intake.took_tick());
        rare.abort();
        let often = tokio::spawn(begin(ms(1)));
        for _ in 0..3 {
            let ticked = async {
                while !intake.took_tick() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ticked).await.expect("it ticks");
        }
        drop(TakingEnd(intake));
        often.await.unwrap();
    }
}
