//! The conformance suite: every law of [`crate::ShardLog`], and the journal and snapshot rules, as checks that run against any log.
//!
//! A log under test is a [`Subject`]. Each check gets a fresh one, and fails by panicking with what it saw. The checks are named for their
//! laws: the numbered laws of the contract in [`log_laws`] and [`conversation_laws`], the journal rules (J) in [`journal_laws`], the snapshot rules (N)
//! in [`snapshot_laws`]. Where Holm answers a rule in its own way, the check's documentation says so.

pub mod conversation_laws;
pub mod journal_laws;
pub mod log_laws;
pub mod snapshot_laws;
mod writer;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use holm_core::{ShardId, Term};

use crate::shard_log::{Opened, ShardLog};
pub use writer::{Command, Writer, address, payload_of};

/// The shard that most checks write to.
pub const SHARD: ShardId = ShardId(0);

/// Another shard, to see that shards do not mix. A subject has both.
pub const OTHER_SHARD: ShardId = ShardId(1);

/// One log under test, with what a check may do to it from outside.
pub trait Subject {
    /// The log as it is now.
    fn log(&self) -> Arc<dyn ShardLog>;

    /// Opens a shard at a new term, above every earlier one.
    fn lead(&mut self, shard: ShardId) -> (Term, Opened);

    /// Closes the log and opens what it stored; false when it stores nothing.
    fn reopen(&mut self) -> bool;

    /// Makes the next append of a shard end in `Unknown`; false when it cannot.
    fn break_next_append(&mut self, shard: ShardId) -> bool;

    /// Whether this log keeps an index of conversations.
    fn knows_conversations(&self) -> bool {
        true
    }

    /// Ends what [`Subject::break_next_append`] began.
    fn heal(&mut self) {}
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The name of its function, which begins with its law.
    pub name: &'static str,
    /// Runs it; panics when the law is broken.
    pub run: fn(&mut dyn Subject),
}

/// All checks, in the order of their laws.
pub fn checks() -> impl Iterator<Item = Check> {
    let all =
        [log_laws::CHECKS, conversation_laws::CHECKS, journal_laws::CHECKS, snapshot_laws::CHECKS];
    all.into_iter().flatten().copied()
}

/// Runs every check, each against a fresh subject.
///
/// # Panics
/// When a law is broken.
pub fn run_all(mut fresh: impl FnMut() -> Box<dyn Subject>) {
    for check in checks() {
        tracing::info!(check = check.name, "checking");
        let mut subject = fresh();
        (check.run)(&mut *subject);
    }
}

/// Waits on this thread for a future.
pub fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparker(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Lists the functions of a module as checks.
macro_rules! list_checks {
    ($($name:ident),+ $(,)?) => {
        &[$(crate::conformance::Check { name: stringify!($name), run: $name }),+]
    };
}
pub(crate) use list_checks;
