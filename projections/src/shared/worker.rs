//! The task of one member: it takes the next record of its shards, lets the handler work on it, and stays a member meanwhile, however long that takes.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ErrorKind;
use holm_runtime::bus::{DurableSubscription, Fact, FeedError, Position, Start, SubscribeError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::failure::Then;
use crate::observer::Notice;
use crate::projection::HandlerError;
use crate::status::State;
use crate::view::SetAside;
use crate::worker::{Ground, Order, set_aside_of, shortened, tell_of};

/// The work of a handler on one record.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// A handler, whatever it was.
pub(super) trait Handler: Fn(Arc<[Fact]>) -> Work + Send + Sync + 'static {}

impl<H: Fn(Arc<[Fact]>) -> Work + Send + Sync + 'static> Handler for H {}

/// Pause before the group is asked again, and between two looks at how far the others are.
const AGAIN: Duration = Duration::from_secs(1);

/// Time to join the group. It is not cut short by an order: who has joined and is forgotten counts as a member until its lease ends, and nobody reads its share.
const JOIN: Duration = Duration::from_secs(10);

/// How long the work under way may take when it is told to stop.
const LAST_WORK: Duration = Duration::from_secs(5);

pub(super) struct SharedWorker<H> {
    pub(super) ground: Arc<Ground<H>>,
    from: Start,
    /// None once nobody holds the handle: it goes on without orders.
    orders: Option<mpsc::Receiver<Order>>,
    pub(super) member: Option<Box<DurableSubscription>>,
    pub(super) at_hand: Option<AtHand>,
    /// It stopped at the record at hand, or because it cannot be a member, and waits for somebody.
    pub(super) failed: bool,
    look_at: Instant,
}

/// The record that is handled now.
pub(super) struct AtHand {
    pub(super) record: Arc<[Fact]>,
    attempt: u32,
    pub(super) step: Step,
}

/// What becomes of it.
pub(super) enum Step {
    /// The handler works.
    Working(JoinHandle<Result<(), HandlerError>>),
    /// The handler is asked again then.
    Waiting(Instant),
    /// It is to be left out, which must be stored then.
    LeavingOut(Instant, Box<SetAside>),
    /// Somebody must say what becomes of it.
    Stopped(String),
}

enum Event {
    Ordered(Option<Order>),
    Joined(Result<Box<DurableSubscription>, SubscribeError>),
    Attended(Result<(), SubscribeError>),
    Came(Result<Vec<Fact>, SubscribeError>),
    Worked(Result<(), HandlerError>),
    Due,
    Look,
    /// The group could not be joined in time.
    Late,
}

impl<H: Handler> SharedWorker<H> {
    pub(super) fn new(ground: Arc<Ground<H>>, from: Start, orders: mpsc::Receiver<Order>) -> Self {
        let orders = Some(orders);
        let look_at = Instant::now();
        Self { ground, from, orders, member: None, at_hand: None, failed: false, look_at }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Ordered(Some(Order::Stop { done })) => {
                    self.stop().await;
                    // Whoever asked may have gone.
                    _ = done.send(());
                    return;
                }
                Event::Ordered(Some(order)) => self.obey(order).await,
                Event::Ordered(None) => self.orders = None,
                Event::Joined(joined) => self.joined(joined),
                Event::Attended(Ok(())) => self.attended(),
                Event::Came(Ok(record)) => self.take(record),
                Event::Attended(Err(error)) | Event::Came(Err(error)) => self.lost(&error).await,
                Event::Worked(Ok(())) => self.done("handled"),
                Event::Worked(Err(error)) => self.handler_failed(&error),
                Event::Due => self.due().await,
                Event::Look => self.look(),
                Event::Late => tracing::warn!(
                    projection = self.ground.identity.name,
                    "the group of a projection cannot be joined yet"
                ),
            }
        }
    }

    /// What happens next. Everything that is dropped here may be dropped.
    async fn event(&mut self) -> Event {
        if self.member.is_none() && !self.failed {
            return self.join_or_obey().await;
        }
        let Self { orders, member, at_hand, failed, look_at, .. } = self;
        let ordered = async {
            match orders {
                Some(orders) => orders.recv().await,
                None => pending().await,
            }
        };
        let free = at_hand.is_none() && !*failed;
        let working = async {
            match at_hand.as_mut().map(|it| &mut it.step) {
                Some(Step::Working(work)) => Event::Worked(match work.await {
                    Ok(worked) => worked,
                    Err(panic) => Err(format!("it panicked: {panic}").into()),
                }),
                Some(Step::Waiting(at) | Step::LeavingOut(at, _)) => {
                    tokio::time::sleep_until(*at).await;
                    Event::Due
                }
                Some(Step::Stopped(_)) | None => pending().await,
            }
        };
        let is_member = member.is_some();
        let attending = async {
            match member {
                Some(member) if free => Event::Came(member.next_record().await),
                // It stays a member, so that nobody handles what is behind the record at hand.
                Some(member) => Event::Attended(member.attend_when_due().await),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            order = ordered => Event::Ordered(order),
            event = working => event,
            () = tokio::time::sleep_until(*look_at), if is_member => Event::Look,
            event = attending => event,
        }
    }

    /// An order that waits comes first.
    async fn join_or_obey(&mut self) -> Event {
        if let Some(Ok(order)) = self.orders.as_mut().map(mpsc::Receiver::try_recv) {
            return Event::Ordered(Some(order));
        }
        let Ground { identity, interest, bus, .. } = &*self.ground;
        let joined = bus.subscribe_durable(identity.name, interest.clone(), self.from.clone());
        match tokio::time::timeout(JOIN, joined).await {
            Ok(joined) => Event::Joined(joined.map(Box::new)),
            Err(_) => Event::Late,
        }
    }

    fn joined(&mut self, joined: Result<Box<DurableSubscription>, SubscribeError>) {
        match joined {
            Ok(member) => {
                self.member = Some(member);
                self.ground.notice(&Notice::Started);
                self.look();
            }
            Err(error) => self.cannot_go_on(&error.to_string()),
        }
    }

    /// What was at hand may be somebody else's by now.
    fn attended(&mut self) {
        let Some(member) = &self.member else { return };
        let lost = |it: &AtHand| it.record.first().is_some_and(|it| !member.holds(it.shard()));
        if self.at_hand.as_ref().is_some_and(lost) {
            self.let_go();
        }
    }

    /// Drops the record at hand; who reads its shard then handles it.
    pub(super) fn let_go(&mut self) {
        if let Some(AtHand { step: Step::Working(work), .. }) = self.at_hand.take() {
            work.abort();
        }
        self.failed = false;
    }

    fn take(&mut self, record: Vec<Fact>) {
        self.at_hand =
            Some(AtHand { record: record.into(), attempt: 0, step: Step::Waiting(Instant::now()) });
        self.try_it();
    }

    /// Lets the handler work on the record at hand.
    pub(super) fn try_it(&mut self) {
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.step = Step::Working(work(&self.ground, &at_hand.record));
        }
    }

    /// The record at hand was handled, or left out.
    pub(super) fn done(&mut self, outcome: &'static str) {
        let Some(AtHand { record, .. }) = self.at_hand.take() else { return };
        if let Some(member) = &mut self.member {
            member.finish(&record);
        }
        let ground = &self.ground;
        if let Some(fact) = record.first() {
            ground.board.reach(&Position([(fact.shard(), fact.offset())].into()));
        }
        self.failed = false;
        ground.board.well();
        ground.count(outcome, record.len());
        if outcome == "handled" {
            ground.board.handled(record.len());
            ground.notice(&Notice::Handled { facts: record.len() });
        }
    }

    fn handler_failed(&mut self, error: &HandlerError) {
        let Some(at_hand) = &mut self.at_hand else { return };
        let (ground, policy) = (&self.ground, self.ground.options.on_failure);
        let reason = shortened(error.to_string());
        at_hand.attempt += 1;
        if let Some(fact) = at_hand.record.first() {
            let (shard, offset, attempt) = (fact.shard(), fact.offset(), at_hand.attempt);
            let projection = ground.identity.name;
            tracing::warn!(projection, %shard, %offset, attempt, reason, "a projection's handler failed");
            ground.notice(&Notice::HandlerFailed { shard, offset, reason: &reason, attempt });
        }
        ground.count("failed", 1);
        ground.board.troubled(State::Retrying, &reason);
        let now = Instant::now();
        at_hand.step = match policy.then {
            _ if at_hand.attempt <= policy.retries => Step::Waiting(now + policy.pause),
            Then::Fail => return self.stop_at(reason),
            then => {
                let parked = then == Then::Park;
                let aside = set_aside_of(ground, &at_hand.record, reason, parked);
                Step::LeavingOut(now, Box::new(aside))
            }
        };
    }

    /// Stays before the record, which nobody else gets meanwhile.
    fn stop_at(&mut self, reason: String) {
        let what = match self.at_hand.as_ref().and_then(|it| it.record.first()) {
            Some(fact) => format!(
                "the handler cannot handle offset {} of shard {}: {reason}",
                fact.offset(),
                fact.shard()
            ),
            None => reason.clone(),
        };
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.step = Step::Stopped(reason);
        }
        self.cannot_go_on(&what);
    }

    fn cannot_go_on(&mut self, reason: &str) {
        self.failed = true;
        let record = self.at_hand.as_ref().map(|it| &it.record);
        self.ground.stopped(record.and_then(|it| it.first()), reason);
    }

    /// A pause is over, or something is to be stored.
    async fn due(&mut self) {
        let Some(AtHand { step: Step::LeavingOut(_, aside), record, .. }) = &self.at_hand else {
            return self.try_it();
        };
        let (aside, record) = ((**aside).clone(), Arc::clone(record));
        // Before the position goes behind it, so that nothing is left out in silence; left out twice it counts once.
        match self.ground.bus.leave_out(self.ground.identity.name, aside.clone()).await {
            Ok(()) => {
                tell_of(&self.ground, &record, &aside);
                self.done(if aside.parked { "parked" } else { "skipped" });
            }
            Err(SubscribeError::Refused(refusal)) => self.stop_at(refusal.to_string()),
            Err(error) => {
                self.ground.board.troubled(State::Retrying, &error.to_string());
                if let Some(at_hand) = &mut self.at_hand {
                    at_hand.step = Step::LeavingOut(Instant::now() + AGAIN, Box::new(aside));
                }
            }
        }
    }

    /// It cannot be a member as it is. A group that does not answer is joined again; a log that is damaged, or a group that turns it away, is for somebody to
    /// look at.
    async fn lost(&mut self, error: &SubscribeError) {
        self.let_go();
        let passing = match error {
            SubscribeError::Group { source }
            | SubscribeError::Feed(FeedError::Unreadable { source, .. }) => {
                source.kind() != ErrorKind::FixRequest
            }
            _ => false,
        };
        self.member = None;
        if passing {
            self.ground.board.troubled(State::Retrying, &error.to_string());
            tokio::time::sleep(AGAIN).await;
        } else {
            self.cannot_go_on(&error.to_string());
        }
    }

    /// How far the others are, and whether somebody paused all of them.
    fn look(&mut self) {
        self.look_at = Instant::now() + AGAIN;
        let paused = self.member.as_ref().is_some_and(|member| member.is_paused());
        let state = self.ground.board.status.borrow().state;
        match state {
            State::Paused if !paused => self.ground.board.state(State::Running),
            State::Starting | State::Running if paused => {
                self.ground.board.state(State::Paused);
                self.ground.notice(&Notice::Paused);
            }
            State::Starting => self.ground.board.state(State::Running),
            _ => {}
        }
        let ground = Arc::clone(&self.ground);
        tokio::spawn(async move {
            if let Ok(position) = ground.bus.position_of(ground.identity.name).await {
                ground.board.group_is_at(&position);
            }
        });
    }

    async fn stop(&mut self) {
        if let Some(AtHand { step: Step::Working(work), .. }) = &mut self.at_hand {
            let ended = tokio::time::timeout(LAST_WORK, &mut *work).await;
            work.abort();
            if matches!(ended, Ok(Ok(Ok(())))) {
                self.done("handled");
            }
        }
        if let Some(member) = self.member.take() {
            // The others take over when the lease is over, else at once.
            _ = member.leave().await;
        }
        self.ground.board.state(State::Stopped);
        self.ground.notice(&Notice::Stopped);
        self.ground.failures.stored().await;
    }
}

/// Begins the work on a record, as a task: a panic is contained in it, and it goes on while orders are done.
pub(super) fn work<H: Handler>(
    ground: &Ground<H>,
    record: &Arc<[Fact]>,
) -> JoinHandle<Result<(), HandlerError>> {
    let (handler, record) = (Arc::clone(&ground.projection), Arc::clone(record));
    tokio::spawn(async move { handler(record).await })
}
