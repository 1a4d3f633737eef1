//! What is done on an arbiter when the shards that are ready have had their turns.
//!
//! An answer to another process wakes the thread that writes to the connection, which often takes the processor at once, writes that one answer, and sleeps again. The
//! next shard of the arbiter answers over the same connection a moment later. So the thread is woken when all of them are done; the answers lie there already.
//!
//! A handler that does not come back holds its arbiter, and with it what waits here. So the [listener](super::listener) looks now and then, too.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who is to be notified on one arbiter.
#[derive(Debug, Default)]
pub(crate) struct Afterwards(Mutex<Vec<Arc<Notify>>>);

/// This arbiter's, and what wakes the task that carries it out.
struct Here {
    afterwards: Arc<Afterwards>,
    waker: Waker,
}

/// So many wait at most: they are looked through for each answer. Beyond that it is done at once.
const MOST: usize = 64;

thread_local! {
    /// None on every thread but the arbiters.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Notifies one waiter: elsewhere at once, which is true; on an arbiter when the shards that are ready have had their turns. Until then whoever has more to say on
/// another thread says so there.
pub fn notify_afterwards(notify: &Arc<Notify>) -> bool {
    let waits = HERE.try_with(|here| here.borrow().as_ref().is_some_and(|here| here.add(notify)));
    // A thread without its own values ends, and has no turns any more.
    let at_once = waits != Ok(true);
    if at_once {
        notify.notify_one();
    }
    at_once
}

/// Carries out what waits on this thread, if it is an arbiter: what comes next on it should not be before that.
pub(super) fn carry_out_here() {
    HERE.with_borrow(|here| here.iter().for_each(|here| here.afterwards.carry_out()));
}

impl Here {
    fn add(&self, notify: &Arc<Notify>) -> bool {
        let mut waiting = self.afterwards.0.lock();
        if waiting.is_empty() {
            self.waker.wake_by_ref();
        }
        // The last one first: what is said is mostly said to whom something was just said.
        if waiting.iter().rev().any(|other| Arc::ptr_eq(other, notify)) {
            return true;
        }
        let room = waiting.len() < MOST;
        if room {
            waiting.push(Arc::clone(notify));
        }
        room
    }
}

impl Afterwards {
    /// Notifies all that wait.
    pub(crate) fn carry_out(&self) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.iter().for_each(|notify| notify.notify_one());
    }

    /// Lives on its arbiter, for as long as that does.
    pub(crate) async fn run(self: Arc<Self>) {
        let _ends = Ends;
        loop {
            poll_fn(|task| {
                let (afterwards, waker) = (Arc::clone(&self), task.waker().clone());
                HERE.set(Some(Here { afterwards, waker }));
                if self.0.lock().is_empty() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            // Behind the shards that other threads have woken, too.
            tokio::task::yield_now().await;
            self.carry_out();
        }
    }
}

/// From its end on everything is done at once again, what waits first.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        if let Ok(Some(here)) = HERE.try_with(RefCell::take) {
            here.afterwards.carry_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::sync::mpsc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    fn is_notified(notify: &Notify) -> bool {
        let mut notified = std::pin::pin!(notify.notified());
        let mut task = std::task::Context::from_waker(Waker::noop());
        notified.as_mut().poll(&mut task).is_ready()
    }

    #[test]
    fn elsewhere_it_is_done_at_once() {
        let notify = Arc::new(Notify::new());
        assert!(notify_afterwards(&notify));
        assert!(is_notified(&notify));
    }

    /// Whoever is woken finds what all turns have left, and nobody is forgotten when the arbiter ends.
    #[tokio::test]
    async fn on_an_arbiter_it_is_done_behind_the_turns() {
        LocalSet::new()
            .run_until(async {
                let arbiter = spawn_local(Arc::<Afterwards>::default().run());
                tokio::task::yield_now().await;
                let both = [(); 2].map(|()| Arc::new(Notify::new()));
                for round in 0..3 {
                    for notify in both.iter().chain(&both) {
                        assert!(!notify_afterwards(notify));
                    }
                    let seen = both.clone();
                    let turn = spawn_local(async move { seen.map(|it| is_notified(&it)) });
                    assert_eq!(turn.await.unwrap(), [false; 2], "{round}: before the other turns");
                    tokio::join!(both[0].notified(), both[1].notified());
                    assert_eq!(both.clone().map(|it| is_notified(&it)), [false; 2], "once");
                }
                notify_afterwards(&both[0]);
                arbiter.abort();
                _ = arbiter.await;
                assert!(is_notified(&both[0]));
                assert!(notify_afterwards(&both[1]));
            })
            .await;
    }

    /// Promise G7: what was said is not held up by a handler that does not come back.
    #[test]
    fn another_thread_carries_it_out_when_the_arbiter_cannot() {
        let (afterwards, notify) = (Arc::<Afterwards>::default(), Arc::new(Notify::new()));
        let ((said, is_said), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        std::thread::scope(|threads| {
            let (here, writer) = (Arc::clone(&afterwards), Arc::clone(&notify));
            threads.spawn(move || {
                let arbiter = LocalSet::new();
                drop(arbiter.spawn_local(here.run()));
                drop(arbiter.spawn_local(async move {
                    said.send(notify_afterwards(&writer)).unwrap();
                    released.recv().unwrap();
                }));
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                arbiter.block_on(&runtime, tokio::task::yield_now());
            });
            assert!(!is_said.recv().unwrap());
            assert!(!is_notified(&notify));
            afterwards.carry_out();
            assert!(is_notified(&notify));
            release.send(()).unwrap();
        });
    }
}
