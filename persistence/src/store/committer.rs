//! The committer: one thread that makes the queued commits of all logs durable together, a group at a time.
//!
//! While a group is being fsynced the next one gathers in the queue, so load makes groups larger, not latency longer. The first failure
//! poisons the store: what is in the group gets the failure, what waits and what comes gets [`StoreError::Poisoned`].

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Done;
use super::disk::DiskPoint;
use super::engine::Engine;
use super::error::StoreError;
use super::group::Group;
use super::inner::Inner;
use super::logs::Logs;
use super::queue::Job;
use super::side_file::{Extent, SideFile};

pub(super) type Outcome = (Done, Result<(), StoreError>);

/// Runs until the queue is closed and empty.
pub(super) fn run(inner: &Arc<Inner>) {
    let options = &inner.options;
    while let Some(jobs) = inner.queue.take(options.group_bytes, options.group_ops) {
        let concluded = commit(inner, jobs);
        tell(inner, concluded);
    }
}

/// What became of a group: the outcome of each job, and what failed for all of them.
pub(super) type Concluded = (Vec<Outcome>, Option<StoreError>);

/// Tells everybody what became of their commit.
pub(super) fn tell(inner: &Arc<Inner>, (outcomes, failure): Concluded) {
    // Poisoned before anybody is told: whoever reacts to the error by a new commit must be refused.
    if let Some(error) = &failure {
        inner.poison(error);
    }
    for (done, outcome) in outcomes {
        answer(done, outcome.and_then(|()| failure.clone().map_or(Ok(()), Err)));
    }
    if inner.take_side_file_due() {
        let keeping = Arc::clone(inner);
        inner.keeper.run(Box::new(move || {
            if let Err(error) = keeping.write_side_file(|_| {}) {
                keeping.poison(&error);
            }
        }));
    }
}

/// Calls back; a panic in there must not end the committer.
pub(super) fn answer(done: Done, outcome: Result<(), StoreError>) {
    if panic::catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a callback of the store panicked");
    }
}

fn commit(inner: &Inner, jobs: Vec<Job>) -> Concluded {
    let engine = inner.engine.read().unwrap_or_else(PoisonError::into_inner);
    let begun = begin(inner, engine.as_ref(), jobs);
    finish(inner, engine.as_ref(), begun)
}

/// A group that was handed to the database and is not durable yet.
pub(super) struct Begun<'a> {
    outcomes: Vec<Outcome>,
    failure: Option<StoreError>,
    written: Option<Written<'a>>,
}

struct Written<'a> {
    after: Logs,
    appended: u64,
    /// Held until the logs are known to be shorter, so that no side file in between asks for more.
    side: Option<MutexGuard<'a, SideFile>>,
}

impl Begun<'_> {
    /// Whether the group makes logs shorter; the side file is locked until it is finished then.
    pub(super) fn shortens(&self) -> bool {
        self.written.as_ref().is_some_and(|written| written.side.is_some())
    }
}

/// Checks a group and hands it to the database.
pub(super) fn begin<'a>(inner: &'a Inner, engine: Option<&Engine>, jobs: Vec<Job>) -> Begun<'a> {
    let opening = inner.queue.opening();
    inner.group_commits.store(jobs.len(), Ordering::Relaxed);
    let Some(engine) = engine else {
        let error = inner.queue.refused().unwrap_or_else(|| inner.closed());
        let outcomes = jobs.into_iter().map(|job| (job.done, Err(error.clone()))).collect();
        return Begun { outcomes, failure: None, written: None };
    };
    let before = inner.logs();
    let mut group = Group::new(&inner.dir, engine, &before);
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut failure = None;
    for job in jobs {
        let outcome =
            if job.opening == opening { group.add(job.ops) } else { Err(inner.poisoned()) };
        if let Err(error) = &outcome
            && !matches!(error, StoreError::Refused { .. } | StoreError::Poisoned { .. })
        {
            failure.get_or_insert_with(|| error.clone());
        }
        outcomes.push((job.done, outcome));
    }
    let mut written = None;
    if failure.is_none() {
        match write(inner, engine, group) {
            Ok(group) => written = Some(group),
            Err(error) => failure = Some(error),
        }
    }
    Begun { outcomes, failure, written }
}

/// Makes a group durable.
pub(super) fn finish(inner: &Inner, engine: Option<&Engine>, begun: Begun<'_>) -> Concluded {
    let Begun { outcomes, mut failure, written } = begun;
    if let Some(written) = written {
        let settled = match engine {
            Some(engine) => settle(inner, engine, written),
            None => Err(inner.closed()),
        };
        failure = settled.err();
    }
    (outcomes, failure)
}

fn write<'a>(
    inner: &'a Inner,
    engine: &Engine,
    group: Group<'_>,
) -> Result<Written<'a>, StoreError> {
    let appended = group.appended;
    let mut side = None;
    if group.shortened().next().is_some() {
        side = Some(inner.expect_less(|before| shared(before, &group.after))?);
    }
    let (changes, after) = group.into_changes();
    let written = inner.options.disk.pass(DiskPoint::Write);
    written.map_err(|error| StoreError::io(&inner.dir, "writing", &error))?;
    engine.apply(changes)?;
    Ok(Written { after, appended, side })
}

fn settle(inner: &Inner, engine: &Engine, written: Written<'_>) -> Result<(), StoreError> {
    let Written { after, appended, side } = written;
    engine.make_durable(&inner.options)?;
    inner.advance(after, appended)?;
    drop(side);
    metrics::counter!("holm_store_groups_total").increment(1);
    metrics::counter!("holm_store_entries_total").increment(appended);
    Ok(())
}

/// What both states of the logs have: all that may be asked for while the step from one to the other is under way.
fn shared(before: &Logs, after: &Logs) -> Logs {
    let both = before.extents.iter().filter_map(|(&log, before)| {
        let after = after.extents.get(&log)?;
        let last = before.last.min(after.last);
        (after.first <= last).then_some((log, Extent { first: before.first, last }))
    });
    Logs { extents: both.collect(), records: before.records.clone() }
}
