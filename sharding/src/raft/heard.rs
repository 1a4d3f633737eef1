//! When the other voters of a group agreed that this node leads: the moment at which the message left that they answered.
//!
//! openraft keeps such a clock too, and is too kind: it takes an answer for one to every message that was handed over since and ends at the same entry. So what
//! a replica said before it followed somebody else can count as said a moment ago, when its answer comes late and a commit mark is under way behind it. Here
//! each answer counts for its own message and no other, and a read is answered only when this clock agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// What was heard of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct Heard(Arc<watch::Sender<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The term of the newest message that was answered. Nothing that was heard at another one counts.
    term: u64,
    left: BTreeMap<u64, Instant>,
}

impl Heard {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Known::default())))
    }

    /// A voter has answered a message of the leader of `term`, which left at `left`, as a follower of that leader.
    pub(crate) fn note(&self, voter: u64, term: u64, left: Instant) {
        self.0.send_if_modified(|known| known.note(voter, term, left));
    }

    /// Whether a majority of each of these sets agreed to what left at `since` or later, counting `me`, who leads at `term`.
    pub(crate) fn majorities_since(
        &self,
        since: Instant,
        term: u64,
        me: u64,
        sets: &[BTreeSet<u64>],
    ) -> bool {
        self.0.borrow().majorities_since(since, term, me, sets)
    }

    /// Waits until that is so.
    ///
    /// Cancel safety: nothing is lost.
    pub(crate) async fn until_majorities_since(
        &self,
        since: Instant,
        term: u64,
        me: u64,
        sets: &[BTreeSet<u64>],
    ) {
        let mut known = self.0.subscribe();
        // The sender is here, so it is not closed.
        let _ = known.wait_for(|known| known.majorities_since(since, term, me, sets)).await;
    }
}

impl Known {
    fn note(&mut self, voter: u64, term: u64, left: Instant) -> bool {
        if term < self.term {
            return false;
        }
        if term > self.term {
            self.term = term;
            self.left.clear();
        }
        let newest = self.left.entry(voter).or_insert(left);
        *newest = left.max(*newest);
        true
    }

    fn majorities_since(&self, since: Instant, term: u64, me: u64, sets: &[BTreeSet<u64>]) -> bool {
        let agreed = |voter: &u64| {
            *voter == me || self.term == term && self.left.get(voter).is_some_and(|at| *at >= since)
        };
        sets.iter().all(|set| set.iter().filter(|voter| agreed(voter)).count() * 2 > set.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TERM: u64 = 4;

    /// The sets of voters that must agree, of which 1 leads.
    fn sets(sets: &[&[u64]]) -> Vec<BTreeSet<u64>> {
        sets.iter().map(|set| set.iter().copied().collect()).collect()
    }

    #[test]
    fn a_majority_counts_from_when_its_slowest_message_left() {
        let (heard, begun) = (Heard::new(), Instant::now());
        let at = |second: u64| begun + Duration::from_secs(second);
        let five = sets(&[&[1, 2, 3, 4, 5]]);
        let since = |second| heard.majorities_since(at(second), TERM, 1, &five);
        heard.note(2, TERM, at(10));
        assert!(!since(0), "two of five");
        heard.note(3, TERM, at(7));
        assert!(since(7) && !since(8));
        heard.note(3, TERM, at(5));
        assert!(since(7), "an answer that comes late takes nothing back");
        heard.note(5, TERM, at(9));
        assert!(since(9) && !since(10));
        heard.note(9, TERM, at(20));
        heard.note(8, TERM, at(20));
        assert!(!since(10), "who does not vote");
    }

    #[test]
    fn while_voters_change_both_sets_must_agree() {
        let (heard, begun) = (Heard::new(), Instant::now());
        let both = sets(&[&[1, 2, 3], &[1, 4, 5]]);
        heard.note(2, TERM, begun);
        assert!(!heard.majorities_since(begun, TERM, 1, &both));
        heard.note(4, TERM, begun);
        assert!(heard.majorities_since(begun, TERM, 1, &both));
        assert!(heard.majorities_since(begun, TERM, 1, &sets(&[&[1]])), "nobody else is asked");
        assert!(
            !heard.majorities_since(begun, TERM, 6, &sets(&[&[1, 2]])),
            "a leader without a vote"
        );
    }

    #[test]
    fn another_term_begins_anew() {
        let (heard, begun) = (Heard::new(), Instant::now());
        let three = sets(&[&[1, 2, 3]]);
        heard.note(2, TERM, begun);
        assert!(!heard.majorities_since(begun, TERM + 1, 1, &three));
        heard.note(3, TERM + 1, begun);
        assert!(!heard.majorities_since(begun, TERM, 1, &three));
        heard.note(2, TERM, begun);
        assert!(heard.majorities_since(begun, TERM + 1, 1, &three));
        assert!(!heard.majorities_since(begun, TERM, 1, &three), "an answer to the term before");
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_it() {
        let (heard, begun) = (Heard::new(), Instant::now());
        let three = sets(&[&[1, 2, 3]]);
        let waits = heard.until_majorities_since(begun, TERM, 1, &three);
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(waits.as_mut()).is_pending());
        heard.note(2, TERM, begun);
        waits.await;
    }
}
