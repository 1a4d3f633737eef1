//! The committer: one thread that makes the queued commits of all logs durable together, a group at a time.
//!
//! While a group is being fsynced the next one gathers in the queue, so load makes groups larger, not latency longer. Where several logs have commits in a group, a
//! second thread waits for its fsync: meanwhile the answers of the group before it go out, and the group behind it is handed to the database. The first failure
//! poisons the store: what is in the group gets the failure, what is behind it, what waits and what comes gets [`StoreError::Poisoned`].

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
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
use super::syncer::Syncer;

/// Logs with commits in a group from which on they go on while it is synced, because they do not wait for one another. A log by itself waits for its answers, and another
/// thread in between would only take time.
const SEVERAL_LOGS: usize = 4;

pub(super) type Outcome = (Done, Result<(), StoreError>);

/// Runs until the queue is closed and empty.
pub(super) fn run(inner: &Arc<Inner>, syncer: &Syncer) {
    // What is being synced on the other thread.
    let mut syncing = Vec::new();
    loop {
        let jobs = if syncing.is_empty() { inner.take() } else { inner.take_behind() };
        let Some(jobs) = jobs else {
            if syncing.is_empty() {
                return;
            }
            conclude(inner, syncing.drain(..), &syncer.wait());
            continue;
        };
        if syncing.is_empty() && (jobs[0].shortens() || !are_of_several_logs(&jobs)) {
            commit(inner, jobs);
        } else {
            syncing = commit_behind(inner, syncer, jobs, syncing);
        }
    }
}

fn are_of_several_logs(jobs: &[Job]) -> bool {
    let logs: BTreeSet<_> = jobs.iter().filter_map(Job::log).take(4 * SEVERAL_LOGS).collect();
    logs.len() >= SEVERAL_LOGS
}

/// Commits a group on this thread.
fn commit(inner: &Arc<Inner>, jobs: Vec<Job>) {
    inner.note_group(jobs.len());
    // Held until the end: whoever opens the store anew would wait for a side file that is locked here.
    let engine = inner.engine.read().unwrap_or_else(PoisonError::into_inner);
    let begun = begin(inner, engine.as_ref(), jobs, None);
    let synced = begun.make_durable(inner, engine.as_ref());
    let concluded = finish(inner, engine.as_ref(), begun, &synced);
    drop(engine);
    tell(inner, concluded);
}

/// Hands commits to the database while an earlier group may still be synced, and has them synced behind it, together with what came meanwhile. Gives back what is being
/// synced then.
fn commit_behind<'a>(
    inner: &'a Arc<Inner>,
    syncer: &Syncer,
    jobs: Vec<Job>,
    earlier: Vec<Begun<'a>>,
) -> Vec<Begun<'a>> {
    let begin = |jobs, earlier| {
        let engine = inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        begin(inner, engine.as_ref(), jobs, earlier)
    };
    let mut commits = jobs.len();
    let mut group = vec![begin(jobs, earlier.last())];
    let mut synced = None;
    if !earlier.is_empty() {
        let before = syncer.wait();
        if before.result.is_err() {
            // Nothing behind it may be synced for itself.
            conclude(inner, earlier.into_iter().chain(group), &before);
            return Vec::new();
        }
        synced = Some(before);
        if group[0].failure.is_none()
            && let Some(jobs) = inner.take_behind()
        {
            commits += jobs.len();
            let came_meanwhile = begin(jobs, group.last());
            group.push(came_meanwhile);
        }
    }
    inner.note_group(commits);
    // First this, and then the answers, for which nobody but their callers waits.
    syncer.start();
    if let Some(synced) = synced {
        conclude(inner, earlier, &synced);
    }
    if group.iter().any(|begun| begun.failure.is_some()) {
        conclude(inner, group, &syncer.wait());
        return Vec::new();
    }
    group
}

/// Takes in what became of commits, in their order, and tells everybody.
fn conclude<'a>(inner: &Arc<Inner>, commits: impl IntoIterator<Item = Begun<'a>>, synced: &Synced) {
    for begun in commits {
        // The store is not opened anew between the look at its opening and what follows from it.
        let engine = inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        let concluded = finish(inner, engine.as_ref(), begun, synced);
        drop(engine);
        tell(inner, concluded);
    }
}

/// What a sync came to.
pub(super) struct Synced {
    /// At which opening of the store.
    opening: u64,
    result: Result<(), StoreError>,
}

impl Synced {
    /// Nothing could be synced.
    pub(super) fn not(inner: &Inner, error: StoreError) -> Self {
        Self { opening: inner.queue.opening(), result: Err(error) }
    }
}

/// Makes everything durable that was handed to the database.
pub(super) fn make_durable(inner: &Inner, engine: Option<&Engine>) -> Synced {
    let opening = inner.queue.opening();
    let result = match engine {
        Some(engine) => engine.make_durable(&inner.options),
        None => Err(inner.gone()),
    };
    Synced { opening, result }
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

/// A group that was handed to the database and is not durable yet.
pub(super) struct Begun<'a> {
    /// At which opening of the store it was begun.
    opening: u64,
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

    /// Makes it durable, when there is anything to be made.
    pub(super) fn make_durable(&self, inner: &Inner, engine: Option<&Engine>) -> Synced {
        match self.written {
            Some(_) => make_durable(inner, engine),
            None => Synced { opening: self.opening, result: Ok(()) },
        }
    }
}

/// Checks a group and hands it to the database. It follows what is durable, or an earlier group that is not yet and does not make logs shorter.
pub(super) fn begin<'a>(
    inner: &'a Inner,
    engine: Option<&Engine>,
    jobs: Vec<Job>,
    earlier: Option<&Begun<'_>>,
) -> Begun<'a> {
    let opening = inner.queue.opening();
    let Some(engine) = engine else {
        let error = inner.gone();
        let outcomes = jobs.into_iter().map(|job| (job.done, Err(error.clone()))).collect();
        return Begun { opening, outcomes, failure: None, written: None };
    };
    // What was begun before the store was opened anew says nothing of what is there now.
    let earlier = earlier.filter(|earlier| earlier.opening == opening);
    let before = match earlier.and_then(|earlier| earlier.written.as_ref()) {
        Some(written) => written.after.clone(),
        None => inner.logs(),
    };
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
    // Also where every commit was refused: the group behind it follows the one before.
    if failure.is_none() {
        match write(inner, engine, group) {
            Ok(group) => written = Some(group),
            Err(error) => failure = Some(error),
        }
    }
    Begun { opening, outcomes, failure, written }
}

/// Takes in whether a group became durable. One behind a failure did not, whatever the disk says of it: what lies before it may be missing.
pub(super) fn finish(
    inner: &Inner,
    engine: Option<&Engine>,
    begun: Begun<'_>,
    synced: &Synced,
) -> Concluded {
    let Begun { opening, mut outcomes, failure, written } = begun;
    let now = inner.queue.opening();
    if now != opening {
        for (_, outcome) in &mut outcomes {
            *outcome = Err(inner.poisoned());
        }
        // A failure is of the opening in which it happened, and told once.
        let failure = synced.result.clone().err().filter(|_| synced.opening == now);
        return (outcomes, failure);
    }
    let Some(written) = written else { return (outcomes, failure) };
    let settled = match engine {
        Some(_) => synced.result.clone().and_then(|()| settle(inner, written)),
        None => Err(inner.gone()),
    };
    (outcomes, settled.err())
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

fn settle(inner: &Inner, written: Written<'_>) -> Result<(), StoreError> {
    let Written { after, appended, side } = written;
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
