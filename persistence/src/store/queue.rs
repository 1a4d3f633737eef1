//! The queue before the committer: bounded by bytes, emptied at once when the store is poisoned.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Done;
use super::error::StoreError;
use super::op::{LogId, Op};

/// What a commit costs in the queue beyond its values: the operation, its key, the callback.
const OP_BYTES: u64 = 128;

/// Called when something was queued, in a store without a committer thread.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

pub(super) struct Job {
    pub(super) ops: Vec<Op>,
    pub(super) done: Done,
    /// At which opening of the store it was queued: a job of an earlier one must fail.
    pub(super) opening: u64,
    bytes: u64,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: u64,
    opening: u64,
    refuse: Option<StoreError>,
    closed: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    wake: Option<Wake>,
    allowed: u64,
}

impl Job {
    /// The log that it is about; a commit may be about several or none.
    pub(super) fn log(&self) -> Option<LogId> {
        self.ops.first().map(Op::log)
    }

    /// Whether it may make logs shorter.
    pub(super) fn shortens(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::TruncateFrom { .. } | Op::PurgeTo { .. }))
    }
}

impl State {
    /// What one group may hold, at least one job when there is one. A group that makes logs shorter begins with a job that does.
    fn take_group(&mut self, max_bytes: usize, max_ops: usize) -> Vec<Job> {
        let (mut taken, mut bytes, mut ops) = (Vec::<Job>::new(), 0, 0);
        while let Some(job) = self.jobs.front() {
            let fits = bytes + job.bytes <= max_bytes as u64
                && ops + job.ops.len() <= max_ops
                && (!job.shortens() || taken.first().is_some_and(Job::shortens));
            if !fits && !taken.is_empty() {
                break;
            }
            (bytes, ops) = (bytes + job.bytes, ops + job.ops.len());
            taken.extend(self.jobs.pop_front());
        }
        self.bytes -= bytes;
        taken
    }
}

impl Queue {
    pub(super) fn new(allowed: u64, wake: Option<Wake>) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), wake, allowed }
    }

    /// Queues a commit, or gives the callback back with the reason.
    pub(super) fn push(&self, ops: Vec<Op>, done: Done) -> Result<(), (Done, StoreError)> {
        let bytes = ops.iter().map(bytes_of).sum::<u64>() + OP_BYTES;
        let mut state = self.lock();
        if let Some(error) = &state.refuse {
            return Err((done, error.clone()));
        }
        if state.bytes + bytes > self.allowed && !state.jobs.is_empty() {
            return Err((done, StoreError::QueueFull { allowed: self.allowed }));
        }
        state.bytes += bytes;
        let opening = state.opening;
        state.jobs.push_back(Job { ops, done, opening, bytes });
        drop(state);
        match &self.wake {
            None => self.filled.notify_one(),
            Some(wake) => wake(),
        }
        Ok(())
    }

    /// Waits for work and takes what one group may hold; none when the queue is closed and empty.
    pub(super) fn take(&self, max_bytes: usize, max_ops: usize) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(state.take_group(max_bytes, max_ops))
    }

    /// As [`Queue::take`], without waiting: none when nothing is queued.
    pub(super) fn try_take(&self, max_bytes: usize, max_ops: usize) -> Option<Vec<Job>> {
        let mut state = self.lock();
        if state.jobs.is_empty() { None } else { Some(state.take_group(max_bytes, max_ops)) }
    }

    /// As [`Queue::try_take`], for a group that is begun while an earlier one is not durable: none when it would make logs shorter.
    pub(super) fn try_take_behind(&self, max_bytes: usize, max_ops: usize) -> Option<Vec<Job>> {
        let mut state = self.lock();
        let shortens = state.jobs.front()?.shortens();
        if shortens { None } else { Some(state.take_group(max_bytes, max_ops)) }
    }

    /// Refuses everything from now on with `error` and gives back what was waiting.
    pub(super) fn refuse(&self, error: StoreError) -> Vec<Job> {
        let mut state = self.lock();
        state.refuse.get_or_insert(error);
        state.opening += 1;
        state.bytes = 0;
        state.jobs.drain(..).collect()
    }

    /// Accepts again after [`Queue::refuse`], in a new opening: what was begun in an earlier one must not be taken for a part of this.
    pub(super) fn accept(&self) {
        let mut state = self.lock();
        state.opening += 1;
        if !state.closed {
            state.refuse = None;
        }
    }

    /// Why everything is refused.
    pub(super) fn refused(&self) -> Option<StoreError> {
        self.lock().refuse.clone()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    pub(super) fn opening(&self) -> u64 {
        self.lock().opening
    }

    /// Refuses what comes; what waits is still committed. True the first time.
    pub(super) fn close(&self, error: StoreError) -> bool {
        let mut state = self.lock();
        let first = !state.closed;
        state.closed = true;
        state.refuse.get_or_insert(error);
        drop(state);
        self.filled.notify_all();
        first
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(op: &Op) -> u64 {
    let value = match op {
        Op::Append { value, .. } | Op::PutRecord { value, .. } => value.len() as u64,
        Op::TruncateFrom { .. } | Op::PurgeTo { .. } => 0,
    };
    OP_BYTES + value
}
