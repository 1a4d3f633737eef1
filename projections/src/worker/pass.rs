//! Reading on from what is stored: group by group into the view, each with the position behind it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Offset, ShardId};
use holm_runtime::bus::{Fact, Position, Start, Subscription};
use tokio::time::Instant;

use super::start::reader_of;
use super::{Ending, Ground};
use crate::observer::Notice;
use crate::projection::{HandlerError, Projection};
use crate::status::State;
use crate::view::{Change, Stored, View, ViewError, WriteError};

/// How late the place behind facts that nobody wanted is stored. Reading them again after a crash costs time and nothing else.
const IDLE: Duration = Duration::from_secs(1);

/// Pauses while the view cannot be written.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whose figures a pass writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The view that is read.
    Present,
    /// The one that is built beside it.
    Beside,
}

/// One run from the stored position.
pub(super) struct Pass<'g, P, V> {
    pub(super) ground: &'g Arc<Ground<P>>,
    view: V,
    pub(super) side: Side,
    subscription: Subscription,
    /// What the view has stored.
    pub(super) kept: Position,
    /// When the place behind what nobody wanted is to be stored.
    due: Option<Instant>,
}

/// Follows these shards, or all, for as long as it can, and says why it cannot any more.
pub(super) async fn follow<P: Projection<V>, V: View>(
    ground: &Arc<Ground<P>>,
    view: &V,
    shards: Option<&BTreeSet<ShardId>>,
) -> Ending {
    let run = async {
        let mut pass = Pass::begin(ground, view, Side::Present, shards).await?;
        ground.notice(&Notice::Started);
        pass.run_until(|_| false).await
    };
    run.await.err().unwrap_or(Ending::Overtaken)
}

/// What the view holds; its tables are there then.
pub(super) async fn adopt<P: Projection<V>, V: View>(
    ground: &Arc<Ground<P>>,
    view: &V,
) -> Result<Stored, Ending> {
    let adopted = patiently(ground, Side::Beside, || {
        let (view, projection, identity) =
            (view.clone(), Arc::clone(&ground.projection), ground.identity);
        move || view.adopt(identity, &mut |tx| contained(|| projection.prepare(tx)))
    });
    adopted.await.map_err(|error| Ending::of(error, &[]))
}

/// Does the change, and handles these facts, in one transaction. While the view cannot be written it is tried again.
pub(super) async fn write<P: Projection<V>, V: View>(
    ground: &Arc<Ground<P>>,
    side: Side,
    view: &V,
    change: Change,
    facts: &Arc<[Fact]>,
    range: Range<usize>,
) -> Result<(), WriteError> {
    let change = Arc::new(change);
    let written = patiently(ground, side, || {
        let (view, projection) = (view.clone(), Arc::clone(&ground.projection));
        let (change, facts, range) = (Arc::clone(&change), Arc::clone(facts), range.clone());
        move || {
            let facts = &facts[range];
            view.write(&change, &mut |tx| match facts {
                [] => Ok(()),
                facts => contained(|| projection.handle(tx, facts)),
            })
        }
    });
    written.await
}

impl<'g, P: Projection<V>, V: View> Pass<'g, P, V> {
    pub(super) async fn begin(
        ground: &'g Arc<Ground<P>>,
        view: &V,
        side: Side,
        shards: Option<&BTreeSet<ShardId>>,
    ) -> Result<Self, Ending> {
        let stored = adopt(ground, view).await?;
        if stored.paused {
            return Err(Ending::Paused);
        }
        if stored.version != ground.identity.version {
            return Err(Ending::Outdated { stored: stored.version });
        }
        let bus = ground.bus.clone();
        let bus = match side {
            Side::Present => bus.reader(reader_of(ground.identity.name)),
            // What is built beside begins far behind, and nobody reads it yet.
            Side::Beside => bus.unwatched(),
        };
        let (view, kept) = (view.clone(), stored.position);
        let interest = ground.interest.clone();
        let subscription = match shards {
            None => bus.subscribe(interest, Start::After(kept.clone())).await?,
            Some(shards) => {
                let places = shards.iter().map(|shard| (*shard, kept.of(*shard)));
                bus.subscribe_to(interest, Position(places.collect()))
            }
        };
        let pass = Self { ground, view, side, subscription, kept, due: None };
        match side {
            Side::Present => ground.board.reach(&pass.kept),
            Side::Beside => ground.board.builds_from(&pass.kept),
        }
        Ok(pass)
    }

    /// Reads on until `reached` says so, which is asked at each place that is in the view.
    pub(super) async fn run_until(
        &mut self,
        reached: impl Fn(&Position) -> bool,
    ) -> Result<(), Ending> {
        while !reached(self.subscription.position()) {
            let facts = self.next_group().await?;
            let place = self.subscription.position().clone();
            if facts.is_empty() {
                self.pass_over(&place).await?;
            } else {
                self.handle(facts.into(), &place).await?;
            }
            self.publish(&place);
        }
        let place = self.subscription.position().clone();
        self.store(&place).await
    }

    /// The next facts; none when nothing of interest came.
    async fn next_group(&mut self) -> Result<Vec<Fact>, Ending> {
        let options = &self.ground.options;
        let limit = options.group_facts.max(1);
        let mut facts = match self.due {
            None => self.subscription.next_group(limit).await?,
            Some(due) => {
                match tokio::time::timeout_at(due, self.subscription.next_group(limit)).await {
                    Ok(facts) => facts?,
                    Err(_) => return Ok(Vec::new()),
                }
            }
        };
        let end = Instant::now() + options.group_time;
        while !facts.is_empty() && facts.len() < limit && !options.group_time.is_zero() {
            let more = self.subscription.next_group(limit - facts.len());
            match tokio::time::timeout_at(end, more).await {
                Ok(Ok(more)) => facts.extend(more),
                // An error comes again with the next call.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(facts)
    }

    async fn handle(&mut self, facts: Arc<[Fact]>, place: &Position) -> Result<(), Ending> {
        let change = Change { moves: self.moves_to(place), ..Change::default() };
        match write(self.ground, self.side, &self.view, change, &facts, 0..facts.len()).await {
            Ok(()) => {
                self.kept.clone_from(place);
                self.due = None;
                self.handled(facts.len());
                Ok(())
            }
            // Nothing of the group stays; the culprit is found record by record.
            Err(WriteError::Handler(error)) => self.one_by_one(&facts, error).await,
            Err(error) => Err(Ending::of(error, &facts)),
        }
    }

    pub(super) async fn write(
        &mut self,
        change: Change,
        facts: &Arc<[Fact]>,
        range: Range<usize>,
    ) -> Result<(), WriteError> {
        write(self.ground, self.side, &self.view, change, facts, range).await
    }

    /// So many facts are in the view.
    pub(super) fn handled(&self, facts: usize) {
        if self.side == Side::Beside {
            return self.ground.board.handled_beside(facts);
        }
        self.ground.board.well();
        self.ground.board.handled(facts);
        self.ground.count("handled", facts);
        self.ground.notice(&Notice::Handled { facts });
    }

    /// The place moved and nobody wanted what was there: that is stored now and then (law La3).
    async fn pass_over(&mut self, place: &Position) -> Result<(), Ending> {
        match self.due {
            Some(due) if Instant::now() >= due => self.store(place).await,
            Some(_) => Ok(()),
            None => {
                self.due = Some(Instant::now() + IDLE);
                Ok(())
            }
        }
    }

    async fn store(&mut self, place: &Position) -> Result<(), Ending> {
        let moves = self.moves_to(place);
        if !moves.is_empty() {
            let nothing: Arc<[Fact]> = Arc::new([]);
            let change = Change { moves, ..Change::default() };
            self.write(change, &nothing, 0..0).await.map_err(|error| Ending::of(error, &[]))?;
            self.kept.clone_from(place);
        }
        self.due = None;
        Ok(())
    }

    fn moves_to(&self, place: &Position) -> Vec<(ShardId, Offset, Offset)> {
        let moves = place.0.iter().map(|(shard, to)| (*shard, self.kept.of(*shard), *to));
        moves.filter(|(_, from, to)| from != to).collect()
    }

    pub(super) fn publish(&self, place: &Position) {
        match self.side {
            Side::Present => self.ground.board.reach(place),
            Side::Beside => self.ground.board.built(place),
        }
    }
}

/// Does something with the view on a thread that may block, again and again while the view says that it may go well later.
async fn patiently<P, T, W>(
    ground: &Ground<P>,
    side: Side,
    work: impl Fn() -> W,
) -> Result<T, WriteError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, WriteError> + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let (under_way, work) = (Arc::clone(&ground.under_way).read_owned().await, work());
        let work = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(under_way);
            result
        });
        // Nothing is counted of what is built beside, and nobody polls it while the present side ends.
        let uncounted = (side == Side::Present).then(|| ground.uncounted());
        let done = work.await;
        // Whoever called goes on to count without waiting for anything.
        drop(uncounted);
        match done {
            Ok(Err(WriteError::View(error))) if error.is_passing() => {
                let reason = error.to_string();
                tracing::warn!(projection = ground.identity.name, reason, "a view is tried again");
                ground.board.troubled(State::Retrying, &reason);
                ground.notice(&Notice::ViewTroubled { reason: &reason });
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Ok(result) => return result,
            Err(error) => {
                return Err(WriteError::View(ViewError::Broken { reason: error.to_string() }));
            }
        }
    }
}

/// Runs what is not ours; a panic is a failure of it. What it left half done is in a transaction that is undone.
fn contained(run: impl FnOnce() -> Result<(), HandlerError>) -> Result<(), HandlerError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("it panicked: {}", text.unwrap_or("without a word")).into())
    })
}
