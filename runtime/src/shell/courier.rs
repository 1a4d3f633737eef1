//! The courier: the task that carries the outbox of one led shard out. It lives on the shard's own thread as long as one leadership, and takes no time from
//! the shard while there is nothing to deliver.
//!
//! It reads through the loaders, asks through the asker that the host was given ([`crate::ShardHost::connect`]), and hears from the shard by
//! [`CourierLink`]. The shard never waits for it: what does not fit its queue is read from the log.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use holm_core::{
    Answer, AskError, CommandEnvelope, CommandId, EntityAddress, IdempotencyKey, Offset, Outcome,
    SeededEntropy, ShardId, Timestamp, shard_of,
};
use holm_persistence::{Batch, ShardLog, decode, encode};
use tokio::sync::mpsc;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::intake::Intake;
use super::leadership::Input;
use super::loaders::{Job, Loaders};
use crate::ask::{Asker, Asking};
use crate::engine::again;
use crate::entity::Command;
use crate::options::HostOptions;
use crate::outbox::{
    Advance, Letter, Look, Outbox, OutboxLimits, Page, Place, Progress, ToDo, Try, letter_at,
    letters_of, outbox_of,
};

/// Batches with reactions that wait for the courier; the rest is read from the log.
const NOTES_WAITING: usize = 64;

/// Clean records after which the courier is told, so that it can say how far it need not look.
const CLEAN_RECORDS: u64 = 4_096;

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 1024 * 1024;

/// How long after its deadline an answer is still waited for.
const GRACE: Duration = Duration::from_secs(1);

/// The pause before the stored progress is asked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The way to the other entities, once the host knows it. Weak, because it mostly leads to the host itself.
pub(crate) type Askers = watch::Receiver<Option<Weak<dyn Asker>>>;

/// What a shard tells its courier.
struct Note {
    /// There are no reactions between here and the batch, or the end.
    since: Offset,
    upto: Offset,
    batch: Option<Batch>,
}

/// The shard's end. Dropping it ends the courier where it stands, as a crash would.
pub(crate) struct CourierLink {
    notes: mpsc::Sender<Note>,
    durable: Rc<Cell<Offset>>,
    noted: Offset,
    task: AbortHandle,
}

impl CourierLink {
    /// Everything up to here is durable.
    pub(super) fn reaches(&mut self, durable: Offset) {
        self.durable.set(durable);
        if durable.0 - self.noted.0 >= CLEAN_RECORDS {
            self.note(durable, None);
        }
    }

    /// This batch is durable and has reactions.
    pub(super) fn react(&mut self, batch: Batch) {
        self.durable.set(self.durable.get().max(batch.last()));
        self.note(batch.last(), Some(batch));
    }

    fn note(&mut self, upto: Offset, batch: Option<Batch>) {
        // A full queue wakes the courier as well, and then it sees how far the log reaches.
        let note = Note { since: self.noted, upto, batch };
        if self.notes.try_send(note).is_ok() {
            self.noted = upto;
        }
    }
}

impl Drop for CourierLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a courier needs.
pub(crate) struct Courier {
    pub(super) shard: ShardId,
    pub(super) options: Arc<HostOptions>,
    pub(super) loaders: Arc<Loaders>,
    pub(super) askers: Askers,
    pub(super) to_shard: Arc<Intake>,
}

/// What came back.
enum Came {
    Read(Result<(Offset, Vec<Letter>), String>),
    Fetched(Place, Result<Letter, String>),
    Answered(Place, Result<Answer, AskError>),
    Stored(Result<Answer, AskError>),
}

/// The outbox must be made anew from what is stored.
struct BeginAgain;

impl Courier {
    /// Begins to deliver what a shard with the last durable offset `durable` has stored.
    pub(super) fn begin(self, durable: Offset) -> CourierLink {
        let (notes, noted) = mpsc::channel(NOTES_WAITING);
        let reach = Rc::new(Cell::new(durable));
        let task = tokio::task::spawn_local(self.run(noted, Rc::clone(&reach))).abort_handle();
        CourierLink { notes, durable: reach, noted: durable, task }
    }

    async fn run(mut self, mut notes: mpsc::Receiver<Note>, reach: Rc<Cell<Offset>>) {
        loop {
            let Some(stored) = self.stored_progress().await else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            let limits = OutboxLimits::of(&self.options.limits);
            let outbox = Outbox::new(self.shard, limits, stored, reach.get(), self.now());
            if self.deliver(outbox, &mut notes, &reach).await.is_none() {
                return;
            }
        }
    }

    /// None when there is nothing to be delivered any more, because the leadership or the node ended.
    async fn deliver(
        &self,
        mut outbox: Outbox,
        notes: &mut mpsc::Receiver<Note>,
        reach: &Cell<Offset>,
    ) -> Option<BeginAgain> {
        let mut under_way: FuturesUnordered<LocalBoxFuture<'_, Option<Came>>> =
            FuturesUnordered::new();
        loop {
            outbox.reaches(reach.get());
            outbox.advance(self.now());
            while let Some(todo) = outbox.poll_output() {
                match todo {
                    ToDo::Read(after) => under_way.push(Box::pin(self.read(after))),
                    ToDo::Fetch(place) => under_way.push(Box::pin(self.fetch(place))),
                    ToDo::Ask(place, envelope, which) => under_way.push(Box::pin(async move {
                        Some(Came::Answered(place, self.send(place, *envelope, which).await))
                    })),
                    ToDo::Store(step) => under_way
                        .push(Box::pin(async move { Some(Came::Stored(self.store(&step).await)) })),
                    // The actor may have ended; then nobody counts failures any more.
                    ToDo::Failure(told) => self.to_shard.order(Input::Undelivered(told)),
                    ToDo::BeginAgain => return Some(BeginAgain),
                }
            }
            let alarm = self.pause_until(outbox.next_alarm());
            tokio::select! {
                biased;
                note = notes.recv() => self.take_note(&mut outbox, note?),
                Some(came) = under_way.next() => match came? {
                    Came::Read(read) => outbox.read(self.now(), read),
                    Came::Fetched(place, letter) => outbox.fetched(self.now(), place, letter),
                    Came::Answered(place, answer) => outbox.answered(self.now(), place, answer),
                    Came::Stored(answer) => outbox.stored(self.now(), answer),
                },
                () = alarm => {}
            }
        }
    }

    fn take_note(&self, outbox: &mut Outbox, Note { since, upto, batch }: Note) {
        let letters = batch.map_or(Ok(Vec::new()), |batch| letters_of(&batch, since));
        match letters {
            Ok(letters) => outbox.found(self.now(), (since, upto), letters),
            // It is read from the log, and the same is found there.
            Err(_) => outbox.reaches(upto),
        }
    }

    /// The clock of the host decides, and it may be moved by hand or jump: while something is due some time, it is looked at in every tick.
    async fn pause_until(&self, alarm: Option<Timestamp>) {
        match alarm {
            None => std::future::pending().await,
            Some(at) => {
                let tick = self.options.tick_interval.max(Duration::from_millis(1));
                let left = at.since(self.now()).max(Duration::from_millis(1));
                tokio::time::sleep(left.min(tick)).await;
            }
        }
    }

    /// The stored progress, page by page; none when it cannot be read now.
    async fn stored_progress(&mut self) -> Option<Progress> {
        let mut stored = Progress::default();
        let mut after = None;
        loop {
            let page: Page = self.look(Look { after }).await?;
            if after.is_some() && page.version != stored.version {
                return None;
            }
            (stored.version, stored.scanned) = (page.version, page.scanned);
            after = page.open.last().map(|(place, _)| *place);
            stored.open.extend(page.open);
            if !page.more {
                return Some(stored);
            }
        }
    }

    async fn look(&mut self, look: Look) -> Option<Page> {
        // Until the host knows the way to other entities there is nothing to do. An error means that the host is gone.
        self.askers.wait_for(Option::is_some).await.ok()?;
        let now = self.now();
        let mut entropy = SeededEntropy::new(now.as_millis() ^ u64::from(self.shard.0) << 40);
        let key = IdempotencyKey::generate(&mut entropy);
        let answer = self.ask(self.to_outbox(&look, key).ok()?).await.ok()?;
        match answer.verdict {
            holm_core::Verdict::Accepted(page) => decode(&page).ok(),
            holm_core::Verdict::Rejected(_) => None,
        }
    }

    /// Stores a step. Its key is that of its version, so that it is the same whoever tries it how often.
    async fn store(&self, step: &Advance) -> Result<Answer, AskError> {
        const STEP: u8 = 2;
        let key = IdempotencyKey::of_reaction(self.shard, Offset(step.version), 0, STEP);
        self.ask(self.to_outbox(step, key)?).await
    }

    fn to_outbox<C: Command>(
        &self,
        command: &C,
        key: IdempotencyKey,
    ) -> Result<CommandEnvelope, AskError> {
        let address: EntityAddress = outbox_of(self.shard, self.options.shards);
        let payload = encode(command).map_err(|error| AskError::Undecodable {
            command: C::NAME.into(),
            reason: error.to_string().into(),
        })?;
        let now = self.now();
        let id = CommandId::generate(now, &mut SeededEntropy::new(seed_of(&key)));
        Ok(CommandEnvelope {
            address,
            command: C::NAME.into(),
            payload,
            key,
            id,
            correlation: id.opens(),
            causation: id.causes(),
            deadline: now.plus(self.options.limits.ask_timeout),
        })
    }

    async fn send(
        &self,
        place: Place,
        envelope: CommandEnvelope,
        which: Try,
    ) -> Result<Answer, AskError> {
        match which {
            Try::First => {
                let deadline = envelope.deadline;
                self.ask_by(deadline, |asker| asker.ask_once(envelope)).await
            }
            Try::InDoubt => {
                // In the sender's own shard it stands behind what led to it; of the offsets of other shards nothing is known here.
                let here = shard_of(&envelope.address, self.options.shards) == self.shard;
                let since = if here { place.offset } else { Offset::ZERO };
                self.ask(again(envelope, since)).await
            }
        }
    }

    async fn ask(&self, envelope: CommandEnvelope) -> Result<Answer, AskError> {
        self.ask_by(envelope.deadline, |asker| asker.ask(envelope)).await
    }

    async fn ask_by(
        &self,
        deadline: Timestamp,
        ask: impl FnOnce(&dyn Asker) -> Asking,
    ) -> Result<Answer, AskError> {
        let asker = self.askers.borrow().as_ref().and_then(Weak::upgrade);
        let shard = self.shard;
        let Some(asker) = asker else {
            let (reason, outcome) = ("the node stops".into(), Outcome::NotApplied);
            return Err(AskError::Unavailable { shard, reason, outcome });
        };
        let patience = deadline.since(self.now()).saturating_add(GRACE);
        let answer = ask(&*asker);
        // Not held while waiting: what it leads to may want to end.
        drop(asker);
        tokio::time::timeout(patience, answer)
            .await
            .unwrap_or(Err(AskError::DeadlinePassed { outcome: Outcome::Unknown }))
    }

    async fn read(&self, after: Offset) -> Option<Came> {
        let shard = self.shard;
        let read = self.load(move |log| read(log, shard, after)).await?;
        Some(Came::Read(read))
    }

    async fn fetch(&self, place: Place) -> Option<Came> {
        let shard = self.shard;
        let fetched = self.load(move |log| fetch(log, shard, place)).await?;
        Some(Came::Fetched(place, fetched))
    }

    /// Reads on a loader; none when they ended.
    async fn load<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn ShardLog) -> R + Send + 'static,
    ) -> Option<R> {
        let (done, answer) = oneshot::channel();
        self.loaders.submit(Job::Inspect(Box::new(move |log| _ = done.send(read(log)))));
        answer.await.ok()
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }
}

fn seed_of(key: &IdempotencyKey) -> u64 {
    u64::try_from(key.digest() & u128::from(u64::MAX)).expect("64 bits are left")
}

fn read(
    log: &dyn ShardLog,
    shard: ShardId,
    after: Offset,
) -> Result<(Offset, Vec<Letter>), String> {
    let batches = log.read(shard, after.next(), READ_BYTES).map_err(|error| error.to_string())?;
    let upto = batches.last().map(Batch::last);
    let upto = upto.ok_or_else(|| format!("nothing is stored after offset {after}"))?;
    let mut letters = Vec::new();
    for batch in &batches {
        letters.extend(letters_of(batch, after)?);
    }
    Ok((upto, letters))
}

fn fetch(log: &dyn ShardLog, shard: ShardId, place: Place) -> Result<Letter, String> {
    let batches = log.read(shard, place.offset, 1).map_err(|error| error.to_string())?;
    let batch = batches.first();
    let batch = batch.ok_or_else(|| format!("nothing is stored at offset {}", place.offset))?;
    letter_at(batch, place)
}
