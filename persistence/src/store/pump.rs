//! The pump: a store without threads of its own, whose commits are carried out step by step by whoever holds it.
//!
//! What it does is what the committer and the keeper do, in the same code; only *when* is decided outside. A simulation takes time between the two
//! steps of a commit, and may end the process there.

use std::sync::{Arc, PoisonError};

use super::committer::{self, Begun};
use super::inner::Inner;
use super::queue::Job;

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

    /// Hands the next group to the database; none when nothing is queued. It must be finished before the next is begun, unless that is begun
    /// [behind](Pump::begin_behind) it.
    #[must_use]
    pub fn begin(&self) -> Option<Commit<'_>> {
        self.inner.try_take().map(|jobs| self.begin_with(jobs, None))
    }

    /// Hands the next group to the database while an earlier one, which must be finished first, is not durable. None when nothing is queued, or when either of the
    /// two makes logs shorter.
    #[must_use]
    pub fn begin_behind(&self, earlier: &Commit<'_>) -> Option<Commit<'_>> {
        if earlier.is_urgent() {
            return None;
        }
        self.inner.take_behind().map(|jobs| self.begin_with(jobs, Some(&earlier.begun)))
    }

    fn begin_with(&self, jobs: Vec<Job>, earlier: Option<&Begun<'_>>) -> Commit<'_> {
        self.inner.note_group(jobs.len());
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        let begun = committer::begin(&self.inner, engine.as_ref(), jobs, earlier);
        Commit { inner: &self.inner, begun }
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
        let synced = self.begun.make_durable(self.inner, engine.as_ref());
        let concluded = committer::finish(self.inner, engine.as_ref(), self.begun, &synced);
        drop(engine);
        committer::tell(self.inner, concluded);
    }
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
