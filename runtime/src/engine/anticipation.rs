//! Anticipation: whether the open batch waits a moment for the callers who were just answered.
//!
//! When a batch is durable its callers are answered, and those who work in a loop are back within some microseconds. A batch that leaves at once
//! leaves without them: they wait for all of the next commit, and every commit is half as large as it could be. So a batch may stay open for some
//! turns of the shard, until as many commands have come as were answered. It is a bet, and it is given up where it does not pay: each time
//! the turns run out, half of them are taken away; each time the callers came, they are given back. A single caller is never waited for,
//! and an idle shard never waits.
//!
//! A turn is one look of the shell at its mailbox: there is no clock here, and a simulation in which no time passes goes on all the same.

/// Answers at once below which nobody is waited for: a commit for each of them is what they would see anyway.
const WORTH_WAITING_FOR: usize = 8;

/// After so many batches without a wait it is tried again, with [`FIRST_TURNS`].
const TRY_AGAIN_AFTER: u32 = 64;
const FIRST_TURNS: u32 = 8;

#[derive(Debug)]
pub(super) struct Anticipation {
    /// Most turns of one wait; zero turns anticipation off.
    most: u32,
    /// Turns that a wait may take at present.
    patience: u32,
    /// Callers who were answered and have not come back.
    expected: usize,
    waited: u32,
    without: u32,
}

impl Anticipation {
    pub(super) fn new(most: u32) -> Self {
        Self { most, patience: most, expected: 0, waited: 0, without: 0 }
    }

    /// So many callers are answered at once.
    pub(super) fn answered(&mut self, callers: usize) {
        self.expected = if callers < WORTH_WAITING_FOR { 0 } else { callers };
        self.waited = 0;
    }

    /// A command came.
    pub(super) fn came(&mut self) {
        self.expected = self.expected.saturating_sub(1);
    }

    /// Asked when the open batch could leave: true when it should stay for another turn.
    pub(super) fn holds_back(&mut self) -> bool {
        if self.expected > 0 && self.waited < self.patience {
            self.waited += 1;
            return true;
        }
        self.learn();
        false
    }

    fn learn(&mut self) {
        if self.waited == 0 {
            self.without += 1;
            if self.patience == 0 && self.without >= TRY_AGAIN_AFTER {
                (self.patience, self.without) = (FIRST_TURNS.min(self.most), 0);
            }
        } else if self.expected == 0 {
            self.patience = self.patience.saturating_mul(2).min(self.most);
        } else {
            (self.patience, self.without) = (self.patience / 2, 0);
        }
        (self.expected, self.waited) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns that a batch is held back while nobody comes.
    fn turns(anticipation: &mut Anticipation) -> u32 {
        let mut turns = 0;
        while anticipation.holds_back() {
            turns += 1;
        }
        turns
    }

    #[test]
    fn a_batch_waits_until_those_who_were_answered_are_back() {
        let mut anticipation = Anticipation::new(100);
        anticipation.answered(8);
        for _ in 0..8 {
            assert!(anticipation.holds_back());
            anticipation.came();
        }
        assert!(!anticipation.holds_back());
        assert!(!anticipation.holds_back(), "nobody is expected twice");
    }

    #[test]
    fn few_callers_and_an_idle_shard_never_wait() {
        let mut anticipation = Anticipation::new(100);
        assert!(!anticipation.holds_back());
        anticipation.answered(7);
        assert!(!anticipation.holds_back());
    }

    #[test]
    fn a_bet_that_does_not_pay_is_given_up_and_tried_again_now_and_then() {
        let mut anticipation = Anticipation::new(64);
        let mut lost = Vec::new();
        for _ in 0..8 {
            anticipation.answered(20);
            lost.push(turns(&mut anticipation));
        }
        assert_eq!(lost, [64, 32, 16, 8, 4, 2, 1, 0]);
        let tries = (0..256).filter(|_| {
            anticipation.answered(20);
            turns(&mut anticipation) > 0
        });
        assert!(tries.count() <= 16, "four tries, each given up after four lost bets");
        while anticipation.patience < 64 {
            anticipation.answered(8);
            if anticipation.holds_back() {
                (0..8).for_each(|_| anticipation.came());
                assert!(!anticipation.holds_back());
            }
        }
    }

    #[test]
    fn zero_turns_it_off() {
        let mut anticipation = Anticipation::new(0);
        for _ in 0..200 {
            anticipation.answered(20);
            assert_eq!(turns(&mut anticipation), 0);
        }
    }
}
