//! Finding the records of one conversation in all shards.
//!
//! A shard that keeps an index of correlation ids is asked for them. What it does not know, because it keeps none or did not always, is read.
//!
//! The id of a conversation is made from a time, so a search needs no record that is older. Where in a log that time is, is found by halving: few
//! reads, wherever the log begins. Records stand in the order in which they were written and carry the time of the clock of the node that led
//! then, so times may go back where leadership changed. **When no clock is off by more than half of [`TOLERANCE`], nothing is missed at the
//! beginning**: let a clock be off by S at most. Halving ends at two neighbours, the first of them with a time before `id - TOLERANCE`, so truly written
//! before `id - TOLERANCE + S`, and so was all before it; while the id was truly made after `id - S`. With a tolerance of 2 S that is later.
//! Where clocks are worse, or an id carries a made-up time, [`Window::everything`] reads all.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use holm_core::{CorrelationId, Offset, ShardId, Timestamp};
use holm_persistence::StoredRecord;

use super::gathering::{Gathered, Gathering};
use super::pages::{PAGE_BYTES, end, known, page, time_at};
use super::step::FlowStep;
use crate::bus::FeedError;
use crate::inspector::{ConversationPage, Inspector};

/// How far before the time of a conversation's id a search begins. Clocks of servers are off by seconds; five minutes is what protocols that check
/// times let pass, and two clocks take part.
pub const TOLERANCE: Duration = Duration::from_secs(600);

/// How long after its beginning a conversation is searched for. Most are over in a second; the rest is what a person waits for.
pub const LOOK_AHEAD: Duration = Duration::from_secs(3_600);

/// Shards that are read at the same time: 2 MiB of pages.
const SHARDS_AT_ONCE: usize = 8;

/// The time that a search looks at, by the times of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What is older is passed over.
    pub from: Timestamp,
    /// The reading of a shard ends with the first batch that is newer.
    pub until: Timestamp,
}

impl Window {
    /// All logs from their beginning to their end.
    #[must_use]
    pub fn everything() -> Self {
        Self { from: Timestamp::EPOCH, until: Timestamp::from_millis(u64::MAX) }
    }

    /// From [`TOLERANCE`] before the conversation began to [`LOOK_AHEAD`] after it; none when its id tells no time, because somebody chose it.
    #[must_use]
    pub fn around(conversation: CorrelationId) -> Option<Self> {
        let began = conversation.began()?;
        let tolerance = u64::try_from(TOLERANCE.as_millis()).unwrap_or(u64::MAX);
        let from = Timestamp::from_millis(began.as_millis().saturating_sub(tolerance));
        Some(Self { from, until: began.plus(LOOK_AHEAD) })
    }
}

/// A search under way. It reads on the caller's runtime, holds eight pages and what was found, and stands still while nobody awaits it.
pub struct FlowSearch {
    inspector: Arc<dyn Inspector>,
    conversation: CorrelationId,
    window: Window,
    /// Whether shards are asked what they know before they are read.
    by_index: bool,
    waiting: VecDeque<ShardId>,
    reading: FuturesUnordered<Step>,
    gathering: Gathering,
    unread: BTreeMap<ShardId, FeedError>,
    /// Shards whose reading has not ended.
    unfinished: usize,
    records: u64,
    searched: usize,
    cut: bool,
}

/// What a search found, and how far it looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The steps, and how many were left out.
    pub gathered: Gathered,
    /// How many records were looked at.
    pub records: u64,
    /// How many shards were read, wholly or in part, because an index does not know all of them. The window matters for these only.
    pub searched: usize,
    /// Shards that could not be read to their end, and why.
    pub unread: BTreeMap<ShardId, FeedError>,
    /// How many shards were not read to the end, because the search was ended before.
    pub unfinished: usize,
    /// True when a log goes on behind the window: the conversation may, too.
    pub cut: bool,
}

type Step = Pin<Box<dyn Future<Output = (ShardId, Result<Progress, FeedError>)> + Send>>;

/// A shard at some place of it.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// It is asked what it knows from here on.
    Known { next: Offset },
    /// It is to be read up to here, or to its end.
    Unread { end: Option<Offset> },
    /// It is being read.
    Reading { next: Offset, end: Offset },
}

/// What one page brought.
struct Progress {
    steps: Vec<FlowStep>,
    records: u64,
    /// Where to go on; none at the end.
    rest: Option<Cursor>,
    cut: bool,
}

impl FlowSearch {
    /// A search in so many shards, by their indexes where they have some. Nothing is read yet.
    #[must_use]
    pub fn new(
        inspector: Arc<dyn Inspector>,
        shards: u32,
        conversation: CorrelationId,
        window: Window,
    ) -> Self {
        let waiting: VecDeque<_> = (0..shards).map(ShardId).collect();
        Self {
            inspector,
            conversation,
            window,
            by_index: true,
            unfinished: waiting.len(),
            waiting,
            reading: FuturesUnordered::new(),
            gathering: Gathering::default(),
            unread: BTreeMap::new(),
            records: 0,
            searched: 0,
            cut: false,
        }
    }

    /// The same search without the indexes: every log is read.
    #[must_use]
    pub fn reading_all(mut self) -> Self {
        self.by_index = false;
        self
    }

    /// Reads until every shard was read to where its log ended when it was first looked at. Call it on a tokio runtime.
    ///
    /// # Cancel safety
    /// Safe: what was found stays, a later call goes on, and [`FlowSearch::finish`] says what is missing.
    pub async fn run(&mut self) {
        loop {
            while self.reading.len() < SHARDS_AT_ONCE
                && let Some(shard) = self.waiting.pop_front()
            {
                let first = if self.by_index {
                    Cursor::Known { next: Offset(1) }
                } else {
                    Cursor::Unread { end: None }
                };
                self.go_on(shard, first);
            }
            let Some((shard, progress)) = self.reading.next().await else { return };
            match progress {
                Ok(progress) => self.take(shard, progress),
                Err(error) => {
                    tracing::warn!(%shard, %error, "a shard cannot be searched");
                    self.unfinished -= 1;
                    self.unread.insert(shard, error);
                }
            }
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn finish(self) -> Found {
        Found {
            gathered: self.gathering.finish(),
            records: self.records,
            searched: self.searched,
            unread: self.unread,
            unfinished: self.unfinished,
            cut: self.cut,
        }
    }

    fn take(&mut self, shard: ShardId, progress: Progress) {
        self.records += progress.records;
        self.cut |= progress.cut;
        progress.steps.into_iter().for_each(|step| self.gathering.take(step));
        match progress.rest {
            Some(cursor) => self.go_on(shard, cursor),
            None => self.unfinished -= 1,
        }
    }

    fn go_on(&mut self, shard: ShardId, cursor: Cursor) {
        let (inspector, window) = (Arc::clone(&self.inspector), self.window);
        let conversation = self.conversation;
        self.searched += usize::from(matches!(cursor, Cursor::Unread { .. }));
        self.reading.push(Box::pin(async move {
            let progress = match cursor {
                Cursor::Known { next } => match known(&*inspector, shard, conversation, next).await
                {
                    Some(page) => take_known(shard, page, conversation),
                    None => Ok(Progress::only(Some(Cursor::Unread { end: None }))),
                },
                Cursor::Unread { end } => beginning(&*inspector, shard, window.from, end)
                    .await
                    .map(|cursor| Progress::only(Some(cursor))),
                Cursor::Reading { next, end } => {
                    step(&*inspector, shard, (next, end), conversation, window.until).await
                }
            };
            (shard, progress)
        }));
    }
}

impl Progress {
    fn only(rest: Option<Cursor>) -> Self {
        Self { steps: Vec::new(), records: 0, rest, cut: false }
    }
}

/// Takes in what a shard knows. What it was not told from its beginning on is read at the end.
fn take_known(
    shard: ShardId,
    page: ConversationPage,
    conversation: CorrelationId,
) -> Result<Progress, FeedError> {
    let mut progress = Progress::only(None);
    for entry in page.records {
        let stored = StoredRecord { offset: entry.offset, bytes: entry.bytes };
        let corrupt = |reason| FeedError::Corrupt { shard, offset: entry.offset, reason };
        let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
        progress.records += 1;
        let steps = FlowStep::of_record((shard, entry.made_by), &stored, &record, conversation);
        progress.steps.extend(steps.map_err(corrupt)?);
    }
    let before = page.known_from.map_or(0, |known_from| known_from.0.saturating_sub(1));
    progress.rest = match page.next {
        Some(next) => Some(Cursor::Known { next }),
        None if before > 0 => Some(Cursor::Unread { end: Some(Offset(before)) }),
        None => None,
    };
    Ok(progress)
}

/// The place of the first record that may be wanted, by halving.
async fn beginning(
    inspector: &dyn Inspector,
    shard: ShardId,
    from: Timestamp,
    end_of_interest: Option<Offset>,
) -> Result<Cursor, FeedError> {
    let end = match end_of_interest {
        Some(end) => end,
        None => end(inspector, shard).await?,
    };
    // Everything up to `old` may be passed over, what stands at `wanted` may not.
    let (mut old, mut wanted) = (Offset::ZERO, end.next());
    while from > Timestamp::EPOCH && old.next() < wanted {
        let middle = Offset(old.0 + (wanted.0 - old.0) / 2);
        match time_at(inspector, shard, middle).await? {
            Some(at) if at < from => old = middle,
            _ => wanted = middle,
        }
    }
    Ok(Cursor::Reading { next: old.next(), end })
}

async fn step(
    inspector: &dyn Inspector,
    shard: ShardId,
    (from, end): (Offset, Offset),
    conversation: CorrelationId,
    until: Timestamp,
) -> Result<Progress, FeedError> {
    let mut progress = Progress::only(None);
    if from > end {
        return Ok(progress);
    }
    let batches = page(inspector, shard, from, PAGE_BYTES).await?;
    let mut next = from;
    for batch in &batches {
        for (nth, stored) in batch.records().filter(|it| it.offset >= from).enumerate() {
            let corrupt = |reason| FeedError::Corrupt { shard, offset: stored.offset, reason };
            let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
            if nth == 0 && record.at > until {
                progress.cut = true;
                return Ok(progress);
            }
            progress.records += 1;
            let place = (shard, batch.made_by());
            let steps = FlowStep::of_record(place, &stored, &record, conversation);
            progress.steps.extend(steps.map_err(corrupt)?);
        }
        next = batch.last().next();
    }
    // An empty page is the end, whatever was said of it.
    if !batches.is_empty() && next <= end {
        progress.rest = Some(Cursor::Reading { next, end });
    }
    Ok(progress)
}

impl std::fmt::Debug for FlowSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowSearch")
            .field("conversation", &self.conversation)
            .field("window", &self.window)
            .field("unfinished", &self.unfinished)
            .finish_non_exhaustive()
    }
}
