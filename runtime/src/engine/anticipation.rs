//! Anticipation: whether the open batch waits a moment for the callers who were just answered.
//!
//! When a batch is durable its callers are answered, and those who work in a loop are back within some microseconds. A batch that leaves at once
//! leaves without them: they wait for all of the next commit, and every commit is half as large as it could be. So a batch may stay open for some
//! turns of the shard, until as many commands have come as were answered. It is a bet, and it is given up where it is lost more often than each third time.
//! Then it is made once again now and then, and always with all turns: with a few of them nobody on another thread could be back, and a shard whose callers
//! changed would never learn it. A single caller is never waited for, and an idle shard never waits.
//!
//! A turn is one look of the shell at its mailbox: there is no clock here, and a simulation in which no time passes goes on all the same.

/// Answers at once below which nobody is waited for: a commit for each of them is what they would see anyway.
const WORTH_WAITING_FOR: usize = 8;

/// What a lost bet adds to the losses; one that is won takes one away.
const LOST: u32 = 2;
/// Losses at which the bet is given up: after four in a row.
const TOO_MANY: u32 = 4 * LOST;
/// Batches without a wait after which it is made again: at some hundred batches a second that costs less than a thousandth of the time.
const AGAIN_AFTER: u32 = 256;

#[derive(Debug)]
pub(super) struct Anticipation {
    /// Most turns of one wait; zero turns anticipation off.
    most: u32,
    /// Callers who were answered and have not come back.
    expected: usize,
    /// Turns of this wait.
    waited: u32,
    losses: u32,
    /// Batches that left without a wait since the bet was given up.
    without: u32,
}

impl Anticipation {
    pub(super) fn new(most: u32) -> Self {
        Self { most, expected: 0, waited: 0, losses: 0, without: 0 }
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

    /// Its turns took too long: this wait is over.
    pub(super) fn ran_out(&mut self) {
        self.waited = self.most;
    }

    /// Asked when the open batch could leave: true when it should stay for another turn.
    pub(super) fn holds_back(&mut self) -> bool {
        if self.expected > 0 && self.waited < self.most && self.losses < TOO_MANY {
            self.waited += 1;
            return true;
        }
        self.learn();
        false
    }

    fn learn(&mut self) {
        if self.waited == 0 {
            self.without = self.without.saturating_add(1);
            if self.losses >= TOO_MANY && self.without >= AGAIN_AFTER {
                self.losses = TOO_MANY - 1;
            }
        } else if self.expected == 0 {
            // Who was found again deserves more than a single loss.
            self.losses = self.losses.saturating_sub(1).min(TOO_MANY / 2);
        } else {
            (self.losses, self.without) = (self.losses + LOST, 0);
        }
        (self.expected, self.waited) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns that a batch is held back when its callers come in the turn `back`.
    fn turns(anticipation: &mut Anticipation, callers: usize, back: Option<u32>) -> u32 {
        anticipation.answered(callers);
        let mut turns = 0;
        while anticipation.holds_back() {
            turns += 1;
            if back == Some(turns) {
                (0..callers).for_each(|_| anticipation.came());
            }
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
        assert_eq!(turns(&mut anticipation, 7, None), 0);
    }

    #[test]
    fn a_bet_that_does_not_pay_is_given_up_and_made_again_now_and_then() {
        let mut anticipation = Anticipation::new(64);
        let waits: Vec<_> = (0..1024).map(|_| turns(&mut anticipation, 20, None)).collect();
        assert_eq!(waits[..5], [64, 64, 64, 64, 0]);
        let later: Vec<_> = waits[5..].iter().filter(|&&turns| turns > 0).collect();
        assert_eq!(later, [&64; 3], "a single try each time, with all turns");
    }

    #[test]
    fn callers_who_come_back_late_are_found_again() {
        let mut anticipation = Anticipation::new(64);
        assert!((0..8).any(|_| turns(&mut anticipation, 20, None) == 0), "given up");
        let found = (0..1024).position(|_| turns(&mut anticipation, 20, Some(60)) == 60);
        assert!(found.is_some_and(|batches| batches <= 256), "{found:?}");
        assert!((0..100).all(|_| turns(&mut anticipation, 20, Some(60)) == 60));
    }

    #[test]
    fn a_bet_that_is_lost_each_fourth_time_is_kept() {
        let mut anticipation = Anticipation::new(64);
        for batch in 0..1000 {
            let back = (batch % 4 != 0).then_some(60);
            assert_eq!(turns(&mut anticipation, 20, back), back.unwrap_or(64), "{batch}");
        }
    }

    #[test]
    fn a_wait_that_takes_too_long_is_a_lost_bet() {
        let mut anticipation = Anticipation::new(64);
        for _ in 0..4 {
            anticipation.answered(20);
            assert!(anticipation.holds_back());
            anticipation.ran_out();
            assert!(!anticipation.holds_back());
        }
        assert_eq!(turns(&mut anticipation, 20, None), 0, "given up");
    }

    #[test]
    fn zero_turns_it_off() {
        let mut anticipation = Anticipation::new(0);
        assert!((0..600).all(|_| turns(&mut anticipation, 20, None) == 0));
    }
}
