//! The keeper: a thread for the store's slow work beside the commits, such as writing the side file and flushing indexes.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use super::queue::Wake;

type Task = Box<dyn FnOnce() + Send>;

/// Runs tasks in order. Whoever sends one limits how many of its kind wait: one side file, one flush for each log.
pub(super) enum Keeper {
    /// On a thread of its own.
    Threaded { tasks: Mutex<Option<mpsc::Sender<Task>>>, thread: Mutex<Option<JoinHandle<()>>> },
    /// When it is told to, on the thread that tells it. None when it was stopped.
    Pumped { tasks: Mutex<Option<VecDeque<Task>>>, wake: Wake },
}

impl Keeper {
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, tasks) = mpsc::channel::<Task>();
        let thread = thread::Builder::new()
            .name("holm-keeper".to_owned())
            .spawn(move || tasks.into_iter().for_each(run))?;
        Ok(Self::Threaded { tasks: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn pumped(wake: Wake) -> Self {
        Self::Pumped { tasks: Mutex::new(Some(VecDeque::new())), wake }
    }

    /// Queues a task; false when the keeper was stopped, and the task is dropped.
    pub(super) fn run(&self, task: Task) -> bool {
        match self {
            Self::Threaded { tasks, .. } => {
                let tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
                tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
            }
            Self::Pumped { tasks, wake } => {
                let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(queue) = tasks.as_mut() else { return false };
                queue.push_back(task);
                drop(tasks);
                wake();
                true
            }
        }
    }

    /// Runs what is queued, when there is no thread that does; false when there is one.
    pub(super) fn pump(&self) -> bool {
        let Self::Pumped { tasks, .. } = self else { return false };
        loop {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(task) = tasks.as_mut().and_then(VecDeque::pop_front) else { return true };
            drop(tasks);
            run(task);
        }
    }

    /// Waits for the queued tasks and ends the thread.
    pub(super) fn stop(&self) {
        self.pump();
        match self {
            Self::Threaded { tasks, thread } => {
                drop(tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
                join(thread.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            Self::Pumped { tasks, .. } => {
                drop(tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        }
    }
}

fn run(task: Task) {
    if panic::catch_unwind(AssertUnwindSafe(task)).is_err() {
        tracing::error!("a task of the keeper panicked");
    }
}

/// Waits for a thread, unless it is this one: the last owner of a store may be a callback or a task.
pub(super) fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // Its panics are caught inside; there is nothing to learn from the result.
        let _ = thread.join();
    }
}
