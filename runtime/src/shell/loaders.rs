//! The loaders: everything that waits for the disk while reading or saving snapshots happens here, never on an arbiter. Each is a thread, or a task
//! that takes its time where there is only one thread.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use holm_core::{Clock, CorrelationId, EntityAddress, Offset, ShardId};
use holm_persistence::{
    CodecError, ConversationRecord, ReadError, ShardLog, Snapshot, SnapshotCriteria, StoredRecord,
};
use tokio::sync::Notify;

use self::queue::{Queue, Subject, Work};
use super::intake::Intake;
use super::leadership::Input;
use crate::engine::{LoadRequest, Loaded, UsableSnapshots, Wanted};
use crate::failure::{self, Causes, FailureFact, FailureKind};
use crate::failures::Outlet;
use crate::options::{HostOptions, Placement, ReadDelay, SnapshotObserver};
use crate::panic_text;

/// Bytes of a conversation that are read at once when an earlier try is looked for.
const CONVERSATION_BYTES: usize = 1024 * 1024;

/// Something to be done on a loader thread.
pub(crate) enum Job {
    Load { shard: ShardId, epoch: u64, request: LoadRequest, to: Arc<Intake> },
    Inspect(Inspection),
}

/// Reads the log for a person.
pub(crate) type Inspection = Box<dyn FnOnce(&dyn ShardLog) + Send>;

/// The loader threads of one host.
pub(crate) struct Loaders {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    log: Arc<dyn ShardLog>,
    observer: Option<SnapshotObserver>,
    snapshots_kept: usize,
    clock: Arc<dyn Clock>,
    failures: Arc<Outlet>,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// The same for loaders that are tasks.
    told: Notify,
}

impl Loaders {
    pub(crate) fn start(
        options: &HostOptions,
        log: Arc<dyn ShardLog>,
        failures: Arc<Outlet>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            log,
            observer: options.on_snapshot.clone(),
            snapshots_kept: options.limits.snapshots_kept,
            clock: Arc::clone(&options.clock),
            failures,
            queue: Mutex::new(Queue::new(options.loaders.max(1))),
            filled: Condvar::new(),
            told: Notify::new(),
        });
        let mut threads = Vec::new();
        for number in 0..options.loaders.max(1) {
            let shared = Arc::clone(&shared);
            match &options.placement {
                Placement::Threads => {
                    let name = format!("holm-loader-{number}");
                    let thread = std::thread::Builder::new().name(name);
                    threads.push(thread.spawn(move || shared.work())?);
                }
                Placement::Here { read_delay } => {
                    drop(tokio::task::spawn_local(shared.work_here(read_delay.clone())));
                }
            }
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Queues a job. Loads are bounded by the engine, inspections by their callers.
    pub(crate) fn submit(&self, job: Job) {
        if self.shared.lock().submit(job) {
            self.shared.tell();
        }
    }

    /// Queues a snapshot; false when too many wait already.
    pub(crate) fn save(&self, subject: Subject, snapshot: Snapshot) -> bool {
        let taken = self.shared.lock().save(subject, snapshot);
        if taken {
            self.shared.tell();
        }
        taken
    }

    /// Ends the threads after what they are at; gives them to be waited for.
    pub(crate) fn stop(&self) -> Vec<JoinHandle<()>> {
        self.shared.lock().stop();
        self.shared.filled.notify_all();
        self.shared.told.notify_waiters();
        std::mem::take(&mut *self.threads.lock().expect("nobody panics while holding it"))
    }
}

impl Drop for Loaders {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding it")
    }

    fn work(&self) {
        let mut queue = self.lock();
        while !queue.is_stopped() {
            if let Some(work) = queue.next() {
                drop(queue);
                self.carry_out(work);
                queue = self.lock();
            } else {
                queue = self.filled.wait(queue).expect("nobody panics while holding it");
            }
        }
    }

    /// The same as a task.
    async fn work_here(self: Arc<Self>, delay: ReadDelay) {
        loop {
            let told = self.told.notified();
            let work = {
                let mut queue = self.lock();
                if queue.is_stopped() {
                    return;
                }
                queue.next()
            };
            match work {
                Some(work) => {
                    tokio::time::sleep(delay()).await;
                    self.carry_out(work);
                }
                None => told.await,
            }
        }
    }

    fn tell(&self) {
        self.filled.notify_one();
        self.told.notify_one();
    }

    fn carry_out(&self, work: Work) {
        match work {
            Work::Job(job) => self.run(job),
            Work::Look(look) => {
                self.run(look);
                self.lock().looked();
                // Another loader may have waited for that with nothing else to do.
                self.tell();
            }
            Work::Save(subject, snapshot) => self.save(&subject, &snapshot),
        }
    }

    fn run(&self, job: Job) {
        match job {
            Job::Load { shard, epoch, request, to } => {
                let ticket = request.ticket;
                let loaded = catch_unwind(AssertUnwindSafe(|| {
                    load(&*self.log, &*self.clock, shard, &request)
                }));
                let loaded = loaded.unwrap_or_else(|panic| {
                    Err(ReadError::Store { shard, reason: panic_text(&*panic) })
                });
                // The shard may have stopped meanwhile; then nobody waits.
                to.order(Input::Loaded { epoch, ticket, loaded });
            }
            Job::Inspect(inspect) => {
                let inspected = catch_unwind(AssertUnwindSafe(|| inspect(&*self.log)));
                if let Err(panic) = inspected {
                    tracing::error!(reason = panic_text(&*panic), "reading for a person panicked");
                }
            }
        }
    }

    fn save(&self, (shard, address): &Subject, snapshot: &Snapshot) {
        let saved = catch_unwind(AssertUnwindSafe(|| {
            self.log.save_snapshot(*shard, address, snapshot.clone(), self.snapshots_kept)?;
            if let Some(observer) = &self.observer {
                observer(*shard, address, snapshot);
            }
            Ok::<_, ReadError>(())
        }));
        let causes = match saved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Causes::of(&error),
            Err(panic) => panic_text(&*panic).into(),
        };
        // Law T11: said, and no reason to stop the entity.
        tracing::warn!(%shard, %address, reason = %causes, "a snapshot could not be saved");
        let subject = failure::Subject::Entity(address.clone());
        let fact = self.failures.fact(FailureKind::SnapshotFailed, subject, causes);
        self.failures.offer(FailureFact { shard: Some(*shard), ..fact });
    }
}

fn load(
    log: &dyn ShardLog,
    clock: &dyn Clock,
    shard: ShardId,
    request: &LoadRequest,
) -> Result<Loaded, ReadError> {
    let address = &request.address;
    match request.wanted {
        Wanted::Start { snapshots, page } => {
            let snapshot = match snapshots {
                UsableSnapshots::None => None,
                UsableSnapshots::All => {
                    log.load_snapshot(shard, address, SnapshotCriteria::default())?
                }
                UsableSnapshots::UpTo(sequence) => {
                    let max_sequence = Some(sequence);
                    let criteria = SnapshotCriteria { max_sequence, ..SnapshotCriteria::default() };
                    log.load_snapshot(shard, address, criteria)?
                }
            };
            let after = snapshot.as_ref().map_or(Offset::ZERO, |snapshot| snapshot.offset);
            let history = log.records_after(shard, address, after, page)?;
            // What became of an entity stands in its newest record, wherever its history begins.
            let newest = match history.more {
                true => record_at(log, shard, history.head)?,
                false => None,
            };
            Ok(Loaded::Start { snapshot, history, newest })
        }
        Wanted::More { after, page } => {
            log.records_after(shard, address, after, page).map(Loaded::More)
        }
        Wanted::Record { offset } => record_at(log, shard, offset).map(Loaded::Record),
        Wanted::EarlierTry { correlation, key, since, deadline } => {
            let in_time = || clock.now() <= deadline;
            earlier_try(log, (shard, address), (correlation, since), key, in_time)
                .map(Loaded::Record)
        }
    }
}

fn record_at(
    log: &dyn ShardLog,
    shard: ShardId,
    offset: Offset,
) -> Result<Option<StoredRecord>, ReadError> {
    let batches = log.read(shard, offset, 1)?;
    let record = batches.iter().find_map(|batch| batch.record(offset));
    Ok(record.map(|record| record.detach()))
}

/// The record of an entity with this key, among those of one conversation from `since` on, as long as it is in time.
fn earlier_try(
    log: &dyn ShardLog,
    (shard, address): (ShardId, &EntityAddress),
    (correlation, since): (CorrelationId, Offset),
    key: u128,
    in_time: impl Fn() -> bool,
) -> Result<Option<StoredRecord>, ReadError> {
    let mut from = since.max(Offset(1));
    loop {
        if !in_time() {
            // Nobody waits any more, and others do.
            let reason = "an earlier try could not be looked for in time".to_owned();
            return Err(ReadError::Store { shard, reason });
        }
        let page = log.conversation(shard, correlation, from, CONVERSATION_BYTES)?;
        for ConversationRecord { stored, .. } in page.records {
            let offset = stored.offset;
            let corrupt = |error: CodecError| {
                let reason = error.to_string();
                ReadError::Corrupt { shard, offset, reason }
            };
            // What others wrote is their affair.
            if stored.is_of(address).map_err(corrupt)?
                && stored.decode().map_err(corrupt)?.key.digest() == key
            {
                return Ok(Some(stored));
            }
        }
        match page.next {
            Some(next) if next > from => from = next,
            _ => return Ok(None),
        }
    }
}
