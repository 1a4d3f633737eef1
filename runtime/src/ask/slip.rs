//! Slips: the way back of an answer inside a process, and the host's care that each one is answered.
//!
//! A timer and a channel for each ask cost more than the ask. So the slips of a shard are used again and again, and instead of a timer each the host looks at all
//! of them a few times in a second. That concerns only callers whose shard says nothing: a handler that does not come back, a log that stands still with
//! commands before it. All others hear of their deadline from the shard itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use holm_core::{Answer, AskError, Outcome, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::coop;

/// How long after its deadline a caller still waits for the answer that says what became of its command.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// Time between two looks at the slips. A caller to whom nobody says anything hears of it at most two looks after the grace.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(125);

/// Slips looked at for a free one before another is made: with one, a few callers who wait for long would make many.
const LOOKED_AT: usize = 4;

/// Slips of a shard that stay after a time of many callers.
const KEPT: usize = 64;

type Said = Result<Answer, AskError>;

/// Where one answer is put down.
#[derive(Debug)]
struct Slip(Mutex<State>);

#[derive(Debug)]
enum State {
    /// Nobody said anything; this wakes whoever waits for it.
    Open(Option<Waker>),
    Said(Said),
    /// The answer was taken, or nobody wants it any more.
    Over,
}

/// The end of a slip that waits.
pub(super) struct Awaited(Option<Arc<Slip>>);

/// The end of a slip that answers.
pub(super) struct Promised(Arc<Slip>);

/// The slips of one shard.
#[derive(Debug, Default)]
pub(crate) struct Slips(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    slips: Vec<Kept>,
    next: usize,
    /// Nobody looks at them any more.
    over: bool,
}

#[derive(Debug)]
struct Kept {
    slip: Arc<Slip>,
    deadline: Timestamp,
    /// Looks until its caller waited for long enough; none before the first.
    looks: Option<u32>,
}

impl Slip {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Puts an answer down, where none is yet and somebody wants it.
    fn say(&self, said: Said) {
        let mut state = self.lock();
        if let State::Open(waiting) = &mut *state {
            let waiting = waiting.take();
            *state = State::Said(said);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Promised {
    pub(super) fn say(self, said: Said) {
        self.0.say(said);
    }
}

impl Future for Awaited {
    type Output = Said;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Said> {
        let slip = self.0.as_ref().expect("it is not polled after its answer");
        let mut state = slip.lock();
        match &mut *state {
            State::Said(_) => {}
            State::Open(Some(waiting)) if waiting.will_wake(task.waker()) => return Poll::Pending,
            State::Open(waiting) => {
                *waiting = Some(task.waker().clone());
                return Poll::Pending;
            }
            State::Over => unreachable!("only this end takes the answer"),
        }
        // Whoever asks again at once after each answer lets others run, too.
        let turn = ready!(coop::poll_proceed(task));
        let State::Said(said) = std::mem::replace(&mut *state, State::Over) else {
            unreachable!("it was just seen")
        };
        drop(state);
        turn.made_progress();
        self.0 = None;
        Poll::Ready(said)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(slip) = self.0.take() {
            let unwanted = std::mem::replace(&mut *slip.lock(), State::Over);
            drop(unwanted);
        }
    }
}

impl Slips {
    /// A slip for the answer to a command; none when nobody looks at them any more.
    pub(super) fn slip(&self, deadline: Timestamp) -> Option<(Promised, Awaited)> {
        let mut ring = self.lock();
        if ring.over {
            return None;
        }
        let slip = ring.slip(deadline);
        Some((Promised(Arc::clone(&slip)), Awaited(Some(slip))))
    }

    /// Looks at every slip, every [`LOOK_EVERY`], and answers those whose callers waited for long enough.
    pub(crate) fn look(&self, now: Timestamp) {
        let late = self.lock().late(now);
        for slip in late {
            slip.say(Err(AskError::DeadlinePassed { outcome: Outcome::Unknown }));
        }
    }

    /// Nobody looks at them any more: whoever waits is told so, and nobody waits from now on.
    pub(crate) fn end(&self) {
        let mut ring = self.lock();
        ring.over = true;
        let all = std::mem::take(&mut ring.slips);
        drop(ring);
        for Kept { slip, .. } in all {
            slip.say(Err(AskError::Interrupted { reason: "the node stopped".into() }));
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock()
    }
}

impl Ring {
    fn slip(&mut self, deadline: Timestamp) -> Arc<Slip> {
        for _ in 0..self.slips.len().min(LOOKED_AT) {
            let place = if self.next < self.slips.len() { self.next } else { 0 };
            self.next = place + 1;
            let kept = &mut self.slips[place];
            // Free when both of its ends are gone.
            if let Some(slip) = Arc::get_mut(&mut kept.slip) {
                *slip.0.get_mut() = State::Open(None);
                (kept.deadline, kept.looks) = (deadline, None);
                return Arc::clone(&kept.slip);
            }
        }
        let slip = Arc::new(Slip(Mutex::new(State::Open(None))));
        self.slips.push(Kept { slip: Arc::clone(&slip), deadline, looks: None });
        slip
    }

    /// Those whose time has passed; it is counted in looks, because the clock of deadlines and the one of timers may be two.
    fn late(&mut self, now: Timestamp) -> Vec<Arc<Slip>> {
        let mut late = Vec::new();
        let mut free = 0usize;
        for kept in &mut self.slips {
            if Arc::strong_count(&kept.slip) == 1 {
                free += 1;
                continue;
            }
            let looks =
                kept.looks.get_or_insert_with(|| looks_in(kept.deadline.since(now) + GRACE));
            match looks.checked_sub(1) {
                Some(fewer) => *looks = fewer,
                None => late.push(Arc::clone(&kept.slip)),
            }
        }
        let mut too_many = free.saturating_sub(self.slips.len() / 2).saturating_sub(KEPT);
        self.slips.retain(|kept| {
            let goes = too_many > 0 && Arc::strong_count(&kept.slip) == 1;
            too_many -= usize::from(goes);
            !goes
        });
        late
    }
}

/// Looks within a time, rounded up.
fn looks_in(time: Duration) -> u32 {
    let looks = time.as_millis().div_ceil(LOOK_EVERY.as_millis());
    u32::try_from(looks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Timestamp = Timestamp::from_millis(1_000);

    fn refused() -> Said {
        Err(AskError::Interrupted { reason: "told".into() })
    }

    fn poll(awaited: &mut Awaited) -> Poll<Said> {
        Pin::new(awaited).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn count(slips: &Slips) -> usize {
        slips.lock().slips.len()
    }

    #[test]
    fn an_answer_comes_once_whenever_it_is_looked_for() {
        let slips = Slips::default();
        for look_before in [false, true] {
            let (promised, mut awaited) = slips.slip(DEADLINE).unwrap();
            assert!(!look_before || poll(&mut awaited).is_pending());
            promised.say(refused());
            assert_eq!(poll(&mut awaited), Poll::Ready(refused()));
        }
        assert_eq!(count(&slips), 1, "the first was used again");
    }

    /// An answer for one caller must never reach the next on the same slip.
    #[test]
    fn a_slip_is_used_again_when_both_ends_are_gone() {
        let slips = Slips::default();
        let (early, awaited) = slips.slip(DEADLINE).unwrap();
        drop(awaited);
        let (promised, mut second) = slips.slip(DEADLINE).unwrap();
        early.say(refused());
        assert!(poll(&mut second).is_pending());
        assert_eq!(count(&slips), 2);
        promised.say(refused());
        // Answered and not looked at: still in use.
        let (_, third) = slips.slip(DEADLINE).unwrap();
        assert_eq!(poll(&mut second), Poll::Ready(refused()));
        drop((second, third));
        for _ in 0..100 {
            let (promised, mut awaited) = slips.slip(DEADLINE).unwrap();
            assert!(poll(&mut awaited).is_pending(), "nothing of an earlier caller is left");
            promised.say(refused());
            assert_eq!(poll(&mut awaited), Poll::Ready(refused()));
        }
        assert_eq!(count(&slips), 2);
    }

    /// Promise G9: whoever hears nothing from the shard is told that the deadline passed, with an open outcome, and not before it.
    #[test]
    fn who_hears_nothing_is_told_after_the_deadline() {
        let slips = Slips::default();
        let (late, mut awaited) = slips.slip(DEADLINE).unwrap();
        let mut now = Timestamp::EPOCH;
        let told = loop {
            now = now.plus(LOOK_EVERY);
            slips.look(now);
            if let Poll::Ready(told) = poll(&mut awaited) {
                break told;
            }
            assert!(now < DEADLINE.plus(10 * GRACE), "nobody is told");
        };
        assert_eq!(told, Err(AskError::DeadlinePassed { outcome: Outcome::Unknown }));
        let due = DEADLINE.plus(GRACE);
        assert!((due..=due.plus(2 * LOOK_EVERY)).contains(&now), "{now}");
        late.say(refused());
    }

    /// The same where the clock of deadlines stands still and only timers go on.
    #[test]
    fn looks_are_counted_where_no_time_passes() {
        let slips = Slips::default();
        let (_late, mut awaited) = slips.slip(DEADLINE).unwrap();
        let looks = (0..100).take_while(|_| {
            slips.look(Timestamp::EPOCH);
            poll(&mut awaited).is_pending()
        });
        assert_eq!(looks.count(), 10);
    }

    #[test]
    fn the_end_is_told_to_all_and_nobody_waits_afterwards() {
        let slips = Slips::default();
        let (_promised, mut awaited) = slips.slip(DEADLINE).unwrap();
        slips.end();
        assert!(matches!(poll(&mut awaited), Poll::Ready(Err(AskError::Interrupted { .. }))));
        assert!(slips.slip(DEADLINE).is_none());
    }

    /// Promise G9: what many callers took at once is given back.
    #[test]
    fn slips_of_a_busy_time_go() {
        let slips = Slips::default();
        let many: Vec<_> = (0..10_000).map(|_| slips.slip(DEADLINE).unwrap()).collect();
        let few: Vec<_> = (0..10).map(|_| slips.slip(DEADLINE).unwrap()).collect();
        drop(many);
        (0..20).for_each(|_| slips.look(Timestamp::EPOCH));
        assert!(count(&slips) <= 2 * KEPT + 2 * few.len(), "{}", count(&slips));
    }
}
