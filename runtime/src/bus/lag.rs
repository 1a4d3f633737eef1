//! When a subscriber that is behind is said to lag, and when to have caught up: one episode, two words. Pure.

use std::time::Duration;

/// How far behind a subscriber may be, and for how long, before that is a failure fact.
///
/// It is behind as far as the oldest fact is old that it was given and has not gone beyond; begun with what happens now, and before it asks for the first fact, as
/// long as it has not asked. It has caught up when it was within half of that for as long. So a
/// subscriber that comes and goes says at most two things in twice `lasting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagLimit {
    /// So far behind.
    pub behind: Duration,
    /// For so long.
    pub lasting: Duration,
}

impl Default for LagLimit {
    /// 30 s for 30 s: longer than a leader's change or a deployment of the subscriber takes.
    fn default() -> Self {
        Self { behind: Duration::from_secs(30), lasting: Duration::from_secs(30) }
    }
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Lags { behind: Duration },
    CaughtUp { lagged: Duration },
}

/// What was told of one subscriber so far. Times count from any one moment.
#[derive(Debug)]
pub(super) struct Episode {
    limit: LagLimit,
    /// Since when it lags, as told.
    told: Option<Duration>,
    /// Since when it is on the other side of its limit.
    turned: Option<Duration>,
}

impl Episode {
    pub(super) fn new(limit: LagLimit) -> Self {
        Self { limit, told: None, turned: None }
    }

    /// It is so far behind at `now`.
    pub(super) fn look(&mut self, behind: Duration, now: Duration) -> Option<Word> {
        let turning = match self.told {
            None => behind > self.limit.behind,
            Some(_) => behind <= self.limit.behind / 2,
        };
        if !turning {
            self.turned = None;
            return None;
        }
        let since = *self.turned.get_or_insert(now);
        if now.saturating_sub(since) < self.limit.lasting {
            return None;
        }
        self.turned = None;
        Some(match self.told.take() {
            None => {
                self.told = Some(since);
                Word::Lags { behind }
            }
            Some(told) => Word::CaughtUp { lagged: now.saturating_sub(told) },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: LagLimit =
        LagLimit { behind: Duration::from_secs(10), lasting: Duration::from_secs(5) };

    fn look(episode: &mut Episode, behind: u64, now: u64) -> Option<Word> {
        episode.look(Duration::from_secs(behind), Duration::from_secs(now))
    }

    /// Promise G7: told once when it lasts, and once when it is over; a moment is not an episode.
    #[test]
    fn an_episode_has_a_beginning_and_an_end() {
        let mut episode = Episode::new(LIMIT);
        assert_eq!(look(&mut episode, 11, 0), None);
        assert_eq!(look(&mut episode, 9, 3), None, "it came back in time");
        assert_eq!(look(&mut episode, 11, 4), None);
        let behind = Duration::from_secs(16);
        assert_eq!(look(&mut episode, 16, 9), Some(Word::Lags { behind }));
        assert_eq!(look(&mut episode, 99, 60), None, "it was told");
        assert_eq!(look(&mut episode, 6, 61), None, "not near enough");
        assert_eq!(look(&mut episode, 5, 62), None);
        assert_eq!(look(&mut episode, 7, 66), None, "not for long enough");
        assert_eq!(look(&mut episode, 0, 67), None);
        let lagged = Duration::from_secs(68);
        assert_eq!(look(&mut episode, 0, 72), Some(Word::CaughtUp { lagged }));
        assert_eq!(look(&mut episode, 0, 99), None);
    }

    proptest! {
        /// Promise G9: whatever a subscriber does, it says at most one thing in each `lasting`, and the two words take turns.
        #[test]
        fn it_cannot_storm(looks in prop::collection::vec((0u64..30, 0u64..4), 1..200)) {
            let mut episode = Episode::new(LIMIT);
            let (mut now, mut lagging, mut last) = (0, false, None);
            for (behind, later) in looks {
                now += later;
                let Some(word) = look(&mut episode, behind, now) else { continue };
                prop_assert_eq!(matches!(word, Word::Lags { .. }), !lagging);
                lagging = !lagging;
                if let Some(last) = last.replace(now) {
                    prop_assert!(now - last >= 5, "{last} and {now}");
                }
            }
        }
    }
}
