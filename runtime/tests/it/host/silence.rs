//! Callers to whom nobody says anything.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_core::{
    AskError, Clock, CommandEnvelope, ManualClock, Outcome, SeededEntropy, ShardId, SystemClock,
    Term, Timestamp,
};
use holm_persistence::{MemoryLog, Pending};
use holm_runtime::{
    AskOptions, Asker, Asking, Caller, EntityError, EntityRef, HostOptions, Placement, ReplyTo,
    ShardHost, notify_afterwards,
};
use tokio::sync::Notify;

use super::Node;
use crate::account::{Account, Balance, Deposit, Sleep, registry};

/// Nothing here takes so long that goes well.
const LONG: Duration = Duration::from_secs(20);

/// Promise G9: callers of a shard whose handler does not come back hear so at their deadline, and so do those who wait behind it.
#[tokio::test]
async fn deadlines_are_kept_while_a_handler_runs() {
    let node = Node::start(|options| options.arbiters = 1).await;
    let deadline = SystemClock.now().plus(Duration::from_millis(50));
    let options = || AskOptions { deadline: Some(deadline), ..AskOptions::default() };
    let (stuck, behind) = (node.account("a"), node.account("b"));
    let (stuck, behind) = tokio::join!(
        stuck.ask_with(Sleep { ms: 2_000 }, options()),
        behind.ask_with(Deposit { amount: 1 }, options())
    );
    let passed = || EntityError::Failed(AskError::DeadlinePassed { outcome: Outcome::Unknown });
    assert_eq!((stuck.unwrap_err(), behind.unwrap_err()), (passed(), passed()));
    node.stop().await;
}

/// Promise G7: what an arbiter was about to send leaves, also when the next handler on it does not come back.
#[tokio::test]
async fn an_answer_is_not_held_by_the_next_handler() {
    let node = Node::start(|options| options.arbiters = 1).await;
    let (writer, place) = (Arc::new(Notify::new()), node.account("a"));
    let (answered, release) = (Arc::clone(&writer), std::sync::mpsc::channel::<()>());
    let (release, released) = release;
    let held = node.host.spawn_near(place.address().unwrap(), async move {
        let at_once = notify_afterwards(&answered);
        released.recv().unwrap();
        at_once
    });
    tokio::time::timeout(LONG, writer.notified()).await.expect("it leaves");
    release.send(()).unwrap();
    assert_eq!(held.await, Some(false), "it was to wait for the end of the turns");
    node.stop().await;
}

/// Promise G9: so do those of a host on one thread, by timers alone: its clock may stand still.
#[tokio::test]
async fn deadlines_are_kept_where_everything_is_on_one_thread() {
    let here = tokio::task::LocalSet::new();
    let answer = here.run_until(async {
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let mut options = HostOptions::new(registry(), 1);
        options.placement = Placement::Here { read_delay: Arc::new(Default::default) };
        options.clock = clock.clone();
        let log = Arc::new(MemoryLog::new());
        let host = ShardHost::start(options, log.clone()).unwrap();
        host.lead(ShardId(0), Term(1)).await.unwrap();
        log.hold();
        let timeout = Duration::from_millis(50);
        let caller = Caller::new(Arc::new(host), clock, timeout, SeededEntropy::new(1));
        EntityRef::<Account>::new(caller, "a").ask(Deposit { amount: 1 }).await
    });
    let answer = tokio::time::timeout(LONG, answer).await.expect("silence ends");
    let passed = AskError::DeadlinePassed { outcome: Outcome::Unknown };
    assert_eq!(answer, Err(EntityError::Failed(passed)));
}

/// Answers nothing, in either way.
struct Silent {
    channel: bool,
    kept: Mutex<Vec<ReplyTo>>,
}

impl Asker for Silent {
    fn ask(&self, _: CommandEnvelope) -> Asking {
        if !self.channel {
            let silence: Pending<_> = Box::pin(std::future::pending());
            return silence.into();
        }
        let (reply, answer) = ReplyTo::channel();
        self.kept.lock().unwrap().push(reply);
        answer.into()
    }
}

/// Promise G9: whoever is asked, silence ends.
#[tokio::test]
async fn an_asker_that_says_nothing_is_not_waited_for() {
    for channel in [false, true] {
        let silent = Arc::new(Silent { channel, kept: Mutex::default() });
        let (clock, timeout) = (Arc::new(SystemClock), Duration::from_millis(20));
        let caller = Caller::new(silent, clock, timeout, SeededEntropy::new(1));
        let account = EntityRef::<Account>::new(caller, "a");
        let answer = tokio::time::timeout(LONG, account.ask(Balance {})).await;
        let answer = answer.expect("silence ends");
        let passed = AskError::DeadlinePassed { outcome: Outcome::Unknown };
        assert_eq!(answer, Err(EntityError::Failed(passed)));
    }
}

/// However long it may take.
#[tokio::test]
async fn whoever_would_wait_for_ever_is_answered() {
    let silent = Arc::new(Silent { channel: true, kept: Mutex::default() });
    let (clock, entropy) = (Arc::new(SystemClock), SeededEntropy::new(1));
    let caller = Caller::new(silent.clone(), clock, Duration::MAX, entropy);
    let account = EntityRef::<Account>::new(caller, "a");
    let answering = async { silent.kept.lock().unwrap().clear() };
    let (answer, ()) = tokio::join!(account.ask(Balance {}), answering);
    assert!(matches!(answer, Err(EntityError::Failed(AskError::Interrupted { .. }))), "{answer:?}");
}
