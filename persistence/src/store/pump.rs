//! The pump: a store without threads of its own, whose commits are carried out step by step by whoever holds it.
//!
//! What it does is what the committer and the keeper do, in the same code; only *when* is decided outside. A simulation takes time between the two
//! steps of a commit, and may end the process there.

use std::sync::{Arc, PoisonError};

use super::committer::{self, Begun};
use super::inner::Inner;

/// Carries out the commits and the slow work of one store. It does not keep the store open.
pub struct Pump {
    inner: Arc<Inner>,
}

/// A group of commits that was handed to the database and is not durable yet.
pub struct Commit<'a> {
    inner: &'a Arc<Inner>,
    begun: Begun<'a>,
}

impl Pump {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Hands the next group to the database; none when nothing is queued. It must be finished before the next is begun.
    #[must_use]
    pub fn begin(&self) -> Option<Commit<'_>> {
        let options = &self.inner.options;
        let jobs = self.inner.queue.try_take(options.group_bytes, options.group_ops)?;
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        let begun = committer::begin(&self.inner, engine.as_ref(), jobs);
        Some(Commit { inner: &self.inner, begun })
    }

    /// Runs the slow work that is queued: the side file, the flushing of indexes.
    pub fn keep(&self) {
        self.inner.keeper.pump();
    }

    /// Commits everything that is queued, at once.
    pub(super) fn drain(&self) {
        while let Some(commit) = self.begin() {
            commit.finish();
        }
        self.keep();
    }
}

impl Commit<'_> {
    /// True when it must be finished at once: it makes logs shorter, and the side file is locked meanwhile.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.begun.shortens()
    }

    /// Makes the group durable and tells everybody in it.
    pub fn finish(self) {
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        let concluded = committer::finish(self.inner, engine.as_ref(), self.begun);
        drop(engine);
        committer::tell(self.inner, concluded);
    }
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
