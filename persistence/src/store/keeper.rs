//! The keeper: a thread for the store's slow work beside the commits, such as writing the side file and flushing indexes.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

type Task = Box<dyn FnOnce() + Send>;

/// Runs tasks in order. Whoever sends one limits how many of its kind wait: one side file, one flush for each log.
pub(super) struct Keeper {
    tasks: Mutex<Option<mpsc::Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, tasks) = mpsc::channel::<Task>();
        let thread = thread::Builder::new().name("holm-keeper".to_owned()).spawn(move || {
            for task in tasks {
                if panic::catch_unwind(AssertUnwindSafe(task)).is_err() {
                    tracing::error!("a task of the keeper panicked");
                }
            }
        })?;
        Ok(Self { tasks: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Queues a task; false when the keeper was stopped, and the task is dropped.
    pub(super) fn run(&self, task: Task) -> bool {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
    }

    /// Waits for the queued tasks and ends the thread.
    pub(super) fn stop(&self) {
        drop(self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
        join(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Waits for a thread, unless it is this one: the last owner of a store may be a callback or a task.
pub(super) fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // Its panics are caught inside; there is nothing to learn from the result.
        let _ = thread.join();
    }
}
