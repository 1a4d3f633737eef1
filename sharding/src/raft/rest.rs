//! Whether one group rests on this node, as everything that has to do with the group sees it.
//!
//! A group rests as long as it says nothing and hears nothing. Each of its messages, sent or received, ends its rest here, and so does everything
//! that is asked of its leader; so nobody who lets a group do something has to think of waking it. Who may be put to rest, and when silence around
//! a resting group means that it must wake, is decided in `node/resting.rs`.
//!
//! Nothing is promised by resting. A group that was put to rest wrongly serves late, and never wrongly: leases run out while nobody beats, so its
//! leader asks the majority before it says anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Metrics, Raft};

/// The rest of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct Rest(Arc<Shared>);

struct Shared {
    phase: watch::Sender<Phase>,
    /// Whether the phase is [`Phase::Awake`]: looked at by every message.
    awake: AtomicBool,
    began: Instant,
    /// When something was last asked of the group or woke it, in milliseconds since it began.
    stirred_ms: AtomicU64,
    /// Questions so far.
    questions: AtomicU64,
}

/// How far a group is on its way to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Awake,
    /// Its leader here asks the others whether they rest too; which of its questions it is.
    Asking(u64),
    Resting(Agreement),
}

/// Under whom a group rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) leader: u64,
    pub(crate) term: u64,
}

impl Agreement {
    /// Whether a replica is still what it was when it agreed.
    pub(crate) fn fits(self, metrics: &Metrics) -> bool {
        metrics.running_state.is_ok()
            && metrics.current_term == self.term
            && metrics.current_leader == Some(self.leader)
    }
}

impl Rest {
    /// A group that is awake.
    pub(crate) fn new() -> Self {
        Self::since(Instant::now())
    }

    fn since(began: Instant) -> Self {
        Self(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Awake),
            awake: AtomicBool::new(true),
            began,
            stirred_ms: AtomicU64::new(0),
            questions: AtomicU64::new(0),
        }))
    }

    /// Whether it neither rests nor is about to.
    pub(crate) fn is_awake(&self) -> bool {
        self.0.awake.load(Ordering::SeqCst)
    }

    /// Under whom it rests, when it does.
    pub(crate) fn agreement(&self) -> Option<Agreement> {
        if self.is_awake() {
            return None;
        }
        match *self.0.phase.borrow() {
            Phase::Resting(agreement) => Some(agreement),
            Phase::Awake | Phase::Asking(_) => None,
        }
    }

    /// Something is asked of the group's leader: it wakes, and it does not rest soon.
    pub(crate) fn stir(&self) {
        self.note_stir();
        self.wake();
    }

    /// The group has said or heard something.
    pub(crate) fn wake(&self) {
        if self.is_awake() {
            return;
        }
        self.0.phase.send_if_modified(|phase| {
            let woken = *phase != Phase::Awake;
            if woken {
                *phase = Phase::Awake;
                self.note_stir();
                self.0.awake.store(true, Ordering::SeqCst);
            }
            woken
        });
    }

    /// How long nothing was asked of it.
    pub(crate) fn calm_for(&self) -> Duration {
        let stirred = Duration::from_millis(self.0.stirred_ms.load(Ordering::SeqCst));
        self.0.began.elapsed().saturating_sub(stirred)
    }

    /// It could not be put to rest now; that is not looked at again before it was calm for as long once more.
    pub(crate) fn put_off(&self) {
        self.note_stir();
    }

    /// Begins to ask the others, when it has been calm for that long; the number of the question.
    pub(crate) fn begin_asking(&self, calm: Duration) -> Option<u64> {
        let mut begun = None;
        self.0.phase.send_if_modified(|phase| {
            if *phase != Phase::Awake {
                return false;
            }
            // In this order, because a stir looks in the other: one of the two sees what the other did.
            self.0.awake.store(false, Ordering::SeqCst);
            if self.calm_for() < calm {
                self.0.awake.store(true, Ordering::SeqCst);
                return false;
            }
            let number = self.0.questions.fetch_add(1, Ordering::SeqCst);
            *phase = Phase::Asking(number);
            begun = Some(number);
            // Nobody has to do anything about it yet.
            false
        });
        begun
    }

    /// The others agreed to this question. False when the group was woken meanwhile.
    pub(crate) fn complete_asking(&self, number: u64, agreement: Agreement) -> bool {
        self.0.phase.send_if_modified(|phase| {
            let still_asks = *phase == Phase::Asking(number);
            if still_asks {
                *phase = Phase::Resting(agreement);
            }
            still_asks
        })
    }

    /// A follower does as its leader wants.
    pub(crate) fn obey(&self, agreement: Agreement) {
        self.0.phase.send_if_modified(|phase| {
            self.0.awake.store(false, Ordering::SeqCst);
            std::mem::replace(phase, Phase::Resting(agreement)) != Phase::Resting(agreement)
        });
    }

    fn note_stir(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.stirred_ms.store(now, Ordering::SeqCst);
    }

    /// Stops the clock of a resting replica and starts it when it wakes; its leader beats at once then, so that what woke it waits for one
    /// round trip and not for the next beat of the node.
    pub(crate) fn carry_out(
        &self,
        raft: Raft,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut phases = self.0.phase.subscribe();
        async move {
            while phases.changed().await.is_ok() {
                let resting = matches!(*phases.borrow_and_update(), Phase::Resting(_));
                raft.runtime_config().tick(!resting);
                if !resting && raft.trigger().heartbeat().await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGREEMENT: Agreement = Agreement { leader: 1, term: 7 };

    fn calm() -> Duration {
        Duration::from_secs(5)
    }

    /// A group of which nothing was asked for long enough.
    async fn calm_group() -> Rest {
        let rest = Rest::new();
        tokio::time::advance(calm()).await;
        rest
    }

    #[tokio::test(start_paused = true)]
    async fn a_calm_group_rests_once_the_others_agreed() {
        let rest = Rest::new();
        assert_eq!(rest.begin_asking(calm()), None, "it has just begun");
        tokio::time::advance(calm()).await;
        let question = rest.begin_asking(calm()).expect("it is calm");
        assert!(!rest.is_awake() && rest.agreement().is_none());
        assert_eq!(rest.begin_asking(calm()), None, "it asks already");
        assert!(rest.complete_asking(question, AGREEMENT));
        assert_eq!(rest.agreement(), Some(AGREEMENT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_or_asked_ends_a_rest_and_the_question_before_it() {
        let ends: [fn(&Rest); 2] = [Rest::wake, Rest::stir];
        for end in ends {
            let rest = calm_group().await;
            let question = rest.begin_asking(calm()).unwrap();
            end(&rest);
            assert!(rest.is_awake());
            assert!(!rest.complete_asking(question, AGREEMENT), "it was woken meanwhile");
            assert_eq!(rest.begin_asking(calm()), None, "it does not rest soon");
            tokio::time::advance(calm()).await;
            let next = rest.begin_asking(calm()).unwrap();
            assert!(!rest.complete_asking(question, AGREEMENT), "an old question");
            assert!(rest.complete_asking(next, AGREEMENT));
            end(&rest);
            assert_eq!((rest.is_awake(), rest.agreement()), (true, None));
        }
    }

    /// Nothing else may end the calm of a group: a follower hears heartbeats all the time.
    #[tokio::test(start_paused = true)]
    async fn only_questions_end_the_calm_of_a_group_that_is_awake() {
        let rest = calm_group().await;
        rest.wake();
        assert!(rest.calm_for() >= calm());
        rest.stir();
        assert_eq!(rest.calm_for(), Duration::ZERO);
        tokio::time::advance(calm()).await;
        rest.put_off();
        assert_eq!(rest.begin_asking(calm()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_rests_whenever_it_is_told_to() {
        let rest = Rest::new();
        rest.obey(AGREEMENT);
        assert_eq!(rest.agreement(), Some(AGREEMENT));
        rest.wake();
        assert!(rest.is_awake());
        rest.obey(AGREEMENT);
        rest.obey(Agreement { term: 8, ..AGREEMENT });
        assert_eq!(rest.agreement().map(|it| it.term), Some(8));
    }

    /// Promise G1 depends on nothing here, but a command that found the group asleep would wait in vain: either the question is not begun, or
    /// it is ended.
    #[test]
    fn a_question_and_a_stir_at_once_leave_the_group_awake() {
        let long_ago =
            Instant::now().checked_sub(calm() * 2).expect("the machine is up for longer");
        for _ in 0..2_000 {
            let rest = Rest::since(long_ago);
            std::thread::scope(|scope| {
                scope.spawn(|| rest.begin_asking(calm()));
                rest.stir();
            });
            assert!(rest.is_awake());
        }
    }
}
