//! The intake of a shard: what comes to its actor from other threads and tasks. Commands wait in a mailbox with a limit; orders and ticks have none but that of
//! their senders, so that a full mailbox never keeps them out.
//!
//! actix boxes each message, links it into a queue, and counts it in and out. Here a command is moved into a queue whose memory is used again, and whoever
//! finds the actor at rest wakes it, once for all that comes until its next turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use holm_core::CommandEnvelope;
use parking_lot::{Mutex, MutexGuard};

use super::actor::Deliver;
use super::leadership::Input;
use crate::ask::ReplyTo;

/// Memory for so many commands is kept. What a burst took beyond that is given back with the next tick.
const KEPT: usize = 256;

/// What is on its way into one shard.
pub(crate) struct Intake {
    state: Mutex<State>,
    /// Most commands that wait here at once.
    capacity: usize,
    /// Commands that the actor took out together and has not begun: they wait too. Only the actor changes it.
    in_hand: AtomicUsize,
    /// There are orders. Looked at in every turn, so apart from the lock.
    ordered: AtomicBool,
    /// Time passed.
    ticked: AtomicBool,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Deliver>,
    orders: VecDeque<Input>,
    /// Wakes the actor; there while it rests.
    at_rest: Option<Waker>,
    /// The log cannot keep up, so no command needs to wake the actor.
    shut: bool,
    closed: bool,
}

/// Commands that were not taken in.
pub(crate) enum NotTaken<C> {
    /// So many wait already.
    Full(C),
    /// The node stops.
    Closed(C),
}

impl Intake {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            capacity: capacity.max(1),
            in_hand: AtomicUsize::new(0),
            ordered: AtomicBool::new(false),
            ticked: AtomicBool::new(false),
        }
    }

    /// Puts a command in; gives it back when it is not taken, in a box, so that one that is taken is moved once.
    #[inline]
    pub(crate) fn put(
        &self,
        envelope: CommandEnvelope,
        reply: ReplyTo,
    ) -> Option<NotTaken<Box<Deliver>>> {
        let mut state = self.lock();
        if state.closed || self.room(&state) == 0 {
            let command = Box::new(Deliver { envelope, reply });
            let closed = state.closed;
            return Some(if closed { NotTaken::Closed(command) } else { NotTaken::Full(command) });
        }
        state.commands.push_back(Deliver { envelope, reply });
        wake_for_commands(state);
        None
    }

    /// Puts commands in that came together: as many as there is room for, from the first.
    pub(crate) fn put_all(&self, mut commands: Vec<Deliver>) -> Result<(), NotTaken<Vec<Deliver>>> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotTaken::Closed(commands));
        }
        let taken = self.room(&state).min(commands.len());
        state.commands.extend(commands.drain(..taken));
        wake_for_commands(state);
        if commands.is_empty() { Ok(()) } else { Err(NotTaken::Full(commands)) }
    }

    /// Gives an order. After the end of the actor it is dropped, and with it what it would have answered with.
    pub(crate) fn order(&self, order: Input) {
        let mut state = self.lock();
        if state.closed {
            return drop(state);
        }
        state.orders.push_back(order);
        self.ordered.store(true, Ordering::Release);
        wake(state);
    }

    /// Says that time passed. False when nobody is there any more.
    pub(super) fn tick(&self) -> bool {
        let state = self.lock();
        if state.closed {
            return false;
        }
        self.ticked.store(true, Ordering::Release);
        wake(state);
        true
    }

    /// Gives the actor all commands that wait, when its hand is empty. False when none does; then it is woken by whatever comes.
    pub(super) fn take(&self, hand: &mut VecDeque<Deliver>, actor: &Waker) -> bool {
        debug_assert!(hand.is_empty(), "what is in the hand comes first");
        let mut state = self.lock();
        if state.commands.is_empty() {
            (state.at_rest, state.shut) = (Some(actor.clone()), false);
            return false;
        }
        // It does not rest.
        state.at_rest = None;
        std::mem::swap(&mut state.commands, hand);
        self.in_hand.store(hand.len(), Ordering::Relaxed);
        true
    }

    /// Gives back what a burst took, as far as it is not used.
    pub(super) fn shrink(&self, hand: &mut VecDeque<Deliver>) {
        hand.shrink_to(KEPT);
        self.lock().commands.shrink_to(KEPT);
    }

    /// The actor takes no command now, but is woken by everything else.
    pub(super) fn shut(&self, actor: &Waker) {
        let mut state = self.lock();
        (state.at_rest, state.shut) = (Some(actor.clone()), true);
    }

    /// The actor begins a command; so many stay in its hand.
    pub(super) fn begins(&self, still_in_hand: usize) {
        self.in_hand.store(still_in_hand, Ordering::Relaxed);
    }

    /// The next order.
    pub(super) fn next_order(&self) -> Option<Input> {
        if !self.ordered.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let order = state.orders.pop_front();
        self.ordered.store(!state.orders.is_empty(), Ordering::Release);
        order
    }

    /// Whether time passed since this was last asked.
    pub(super) fn took_tick(&self) -> bool {
        self.ticked.load(Ordering::Acquire) && self.ticked.swap(false, Ordering::AcqRel)
    }

    /// Takes nothing any more. What waits is dropped, which answers it.
    fn close(&self) {
        let mut state = self.lock();
        let closed = State { closed: true, ..State::default() };
        let waited = std::mem::replace(&mut *state, closed);
        drop(state);
        drop(waited);
    }

    fn room(&self, state: &State) -> usize {
        let waiting = state.commands.len() + self.in_hand.load(Ordering::Relaxed);
        self.capacity.saturating_sub(waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn wake_for_commands(state: MutexGuard<'_, State>) {
    if !state.shut {
        wake(state);
    }
}

/// Wakes the actor when it rests, once the lock is free for it.
fn wake(mut state: MutexGuard<'_, State>) {
    let actor = state.at_rest.take();
    drop(state);
    if let Some(actor) = actor {
        actor.wake();
    }
}

/// The end of the intake that the actor holds: when the actor goes, or never comes to be, the intake closes.
pub(crate) struct TakingEnd(pub(crate) Arc<Intake>);

impl Drop for TakingEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use bytes::Bytes;
    use holm_core::{
        AskError, CausationId, CommandEnvelope, CommandId, CorrelationId, IdempotencyKey, Timestamp,
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn taken(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    fn command(reply: ReplyTo) -> Deliver {
        let envelope = CommandEnvelope {
            address: "account/a".parse().unwrap(),
            command: "deposit".into(),
            payload: Bytes::new(),
            key: IdempotencyKey::new("k").unwrap(),
            id: CommandId(1),
            correlation: CorrelationId(1),
            causation: CausationId(1),
            deadline: Timestamp::EPOCH,
        };
        Deliver { envelope, reply }
    }

    fn nobodys() -> Deliver {
        command(ReplyTo::nobody())
    }

    fn put(
        intake: &Intake,
        Deliver { envelope, reply }: Deliver,
    ) -> Option<NotTaken<Box<Deliver>>> {
        intake.put(envelope, reply)
    }

    fn fill(intake: &Intake) -> usize {
        (0..100).take_while(|_| put(intake, nobodys()).is_none()).count()
    }

    /// Promise G9: what the actor took out and has not begun waits too, and takes its place.
    #[test]
    fn no_more_than_the_limit_wait_wherever_they_do() {
        let (intake, actor) = (Intake::new(8), Waker::noop());
        assert_eq!(fill(&intake), 8);
        let mut hand = VecDeque::new();
        assert!(intake.take(&mut hand, actor));
        assert_eq!(fill(&intake), 0);
        for begun in 1..=3 {
            hand.pop_front();
            intake.begins(hand.len());
            assert_eq!(fill(&intake), 1, "{begun}");
        }
        let more = (0..5).map(|_| nobodys()).collect();
        assert!(matches!(intake.put_all(more), Err(NotTaken::Full(left)) if left.len() == 5));
        hand.clear();
        intake.begins(0);
        let more = (0..7).map(|_| nobodys()).collect();
        assert!(matches!(intake.put_all(more), Err(NotTaken::Full(left)) if left.len() == 2));
    }

    #[test]
    fn the_actor_is_woken_once_for_all_that_comes_until_its_turn() {
        let (intake, wakes, mut hand) = (Intake::new(8), Arc::<Wakes>::default(), VecDeque::new());
        let actor = Waker::from(Arc::clone(&wakes));
        assert!(!intake.take(&mut hand, &actor));
        assert_eq!((fill(&intake), wakes.taken()), (8, 1));
        assert!(intake.take(&mut hand, &actor));
        intake.order(Input::Depose);
        assert_eq!(wakes.taken(), 0, "it is awake");
        hand.clear();
        assert!(intake.next_order().is_some() && intake.next_order().is_none());
        assert!(!intake.take(&mut hand, &actor));
        assert!(intake.tick() && intake.took_tick() && !intake.took_tick());
        assert_eq!(wakes.taken(), 1);
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let (intake, actor, mut hand) = (Intake::new(10_000), Waker::noop(), VecDeque::new());
        for _ in 0..2 {
            assert!(intake.put_all((0..10_000).map(|_| nobodys()).collect()).is_ok());
            assert!(intake.take(&mut hand, actor));
            hand.clear();
            intake.begins(0);
        }
        assert!(hand.capacity() >= 10_000 && intake.lock().commands.capacity() >= 10_000);
        assert_eq!(fill(&intake), 100);
        intake.shrink(&mut hand);
        let kept = [hand.capacity(), intake.lock().commands.capacity()];
        assert!(kept.iter().all(|kept| *kept <= KEPT), "{kept:?}");
        assert!(intake.take(&mut hand, actor));
        assert_eq!(hand.len(), 100);
    }

    #[test]
    fn while_the_log_cannot_keep_up_only_commands_let_the_actor_sleep() {
        let (intake, wakes) = (Intake::new(8), Arc::<Wakes>::default());
        let actor = Waker::from(Arc::clone(&wakes));
        intake.begins(0);
        intake.shut(&actor);
        assert_eq!((fill(&intake), wakes.taken()), (8, 0));
        intake.order(Input::Depose);
        assert_eq!(wakes.taken(), 1);
        intake.shut(&actor);
        assert!(intake.tick());
        assert_eq!(wakes.taken(), 1);
    }

    #[test]
    fn the_end_of_the_actor_answers_whoever_waits() {
        let intake = Arc::new(Intake::new(8));
        let end = TakingEnd(Arc::clone(&intake));
        let (reply, mut answer) = ReplyTo::channel();
        assert!(put(&intake, command(reply)).is_none());
        drop(end);
        assert!(matches!(answer.try_recv(), Ok(Err(AskError::Interrupted { .. }))));
        assert!(matches!(put(&intake, nobodys()), Some(NotTaken::Closed(_))));
        assert!(matches!(intake.put_all(vec![nobodys()]), Err(NotTaken::Closed(_))));
        let (done, told) = tokio::sync::oneshot::channel();
        intake.order(Input::Drain { done });
        assert!(told.blocking_recv().is_err());
        assert!(!intake.tick());
    }
}
