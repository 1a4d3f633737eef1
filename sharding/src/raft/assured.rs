//! Whether the leader of a group may say by its lease alone that it still leads, without asking openraft.
//!
//! That question is a message to the thread of the cluster and one back, for each look of a shard at its reads. The lease itself is known without it: within it, a
//! majority has promised to elect nobody else ([`super::heard`]). But this node counts itself to that majority and is bound by no promise of its own: its openraft may vote for another. So
//! three things are needed besides:
//!
//! - openraft has said since the beginning of the term that this node leads;
//! - nobody has asked for this node's vote since that was asked, and nobody is being answered now;
//! - the leadership was not given away: whoever takes it over is elected within the lease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of one group. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assured(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Who asks for this node's vote and is not answered.
    asking: usize,
    /// How many were answered.
    answered: u64,
    /// openraft's word.
    word: Option<Word>,
    /// The newest term at which the leadership was given away.
    given_away: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    term: u64,
    begun: Begun,
}

/// The moment at which openraft was asked, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    answered: u64,
}

/// Somebody asks for this node's vote, until this is dropped.
#[derive(Debug)]
pub(super) struct VoteWanted(Assured);

impl Assured {
    /// openraft is about to be asked whether this node leads.
    pub(super) fn begin(&self) -> Begun {
        Begun { answered: self.lock().answered }
    }

    /// It says so, of this term.
    pub(super) fn leads(&self, term: u64, begun: Begun) {
        self.lock().word = Some(Word { term, begun });
    }

    /// Somebody asks for this node's vote. What openraft said before that counts no more.
    pub(super) fn vote_wanted(&self) -> VoteWanted {
        self.lock().asking += 1;
        VoteWanted(self.clone())
    }

    /// The leadership of this term is given to somebody else, who may be elected at any time from now on.
    pub(super) fn give_away(&self, term: u64) {
        let mut known = self.lock();
        known.given_away = known.given_away.max(term);
    }

    /// Whether the lease of this term may be relied on at this moment.
    pub(super) fn holds(&self, term: u64) -> bool {
        let known = self.lock();
        let now = Word { term, begun: Begun { answered: known.answered } };
        known.word == Some(now) && known.asking == 0 && known.given_away < term
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change is one assignment, whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VoteWanted {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.asking -= 1;
        known.answered += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: u64 = 4;

    fn assured() -> Assured {
        let assured = Assured::default();
        assured.leads(TERM, assured.begin());
        assured
    }

    #[test]
    fn the_word_counts_for_its_term() {
        assert!(!Assured::default().holds(0), "nobody has said anything");
        let assured = assured();
        assert!(assured.holds(TERM));
        assert!(!assured.holds(TERM - 1) && !assured.holds(TERM + 1));
        assured.leads(TERM + 1, assured.begin());
        assert!(assured.holds(TERM + 1) && !assured.holds(TERM));
    }

    /// Promise G5: who may just have voted for another relies on nothing that was said before, whenever that is told.
    #[test]
    fn a_vote_ends_the_word_from_the_question_to_the_next_word() {
        let assured = assured();
        let before = assured.begin();
        let wanted = assured.vote_wanted();
        assert!(!assured.holds(TERM));
        let meanwhile = assured.begin();
        assured.leads(TERM, meanwhile);
        assert!(!assured.holds(TERM), "it is not answered yet");
        drop(wanted);
        assert!(!assured.holds(TERM), "it may have been answered behind that word");
        assured.leads(TERM, before);
        assert!(!assured.holds(TERM), "a word that comes late");
        assured.leads(TERM, assured.begin());
        assert!(assured.holds(TERM));
    }

    #[test]
    fn two_votes_end_with_the_second() {
        let assured = assured();
        let (first, second) = (assured.vote_wanted(), assured.vote_wanted());
        drop(first);
        assured.leads(TERM, assured.begin());
        assert!(!assured.holds(TERM));
        drop(second);
        assured.leads(TERM, assured.begin());
        assert!(assured.holds(TERM));
    }

    #[test]
    fn what_was_given_away_is_not_relied_on_again() {
        let assured = assured();
        assured.give_away(TERM);
        assured.leads(TERM, assured.begin());
        assert!(!assured.holds(TERM));
        assured.leads(TERM + 1, assured.begin());
        assert!(assured.holds(TERM + 1));
    }
}
