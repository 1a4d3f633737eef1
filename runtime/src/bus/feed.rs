//! Following the log of one shard: page by page behind the writers, in offset order, without a gap.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{AskError, ErrorKind, Offset, ShardId};
use holm_persistence::{Batch, Pending};

use super::fact::Fact;
use super::interest::Interest;
use super::tags::Tagger;
use super::watch::Mark;
use crate::inspector::Inspector;

/// Bytes of log read at once for one shard. A subscriber of 256 shards holds 16 MiB at most.
const PAGE_BYTES: usize = 64 * 1024;

/// Pauses while a shard cannot be read: it has no leader for a moment, or its node is gone.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A reader of one shard's log, at some place in it.
pub struct ShardFeed {
    inspector: Arc<dyn Inspector>,
    interest: Arc<Interest>,
    shard: ShardId,
    position: Offset,
    /// The page before was all that there was, or nearly.
    near_end: bool,
    mark: Option<Arc<Mark>>,
    tagger: Tagger,
}

/// What one step of a feed found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The shard.
    pub shard: ShardId,
    /// The facts wanted, in order; none when all that was there is of no interest.
    pub facts: Vec<Fact>,
    /// Everything up to this offset has been seen.
    pub through: Offset,
}

impl ShardFeed {
    /// A reader that has seen everything up to `position`.
    #[must_use]
    pub fn new(
        inspector: Arc<dyn Inspector>,
        interest: Arc<Interest>,
        shard: ShardId,
        position: Offset,
    ) -> Self {
        let (mark, tagger) = (None, Tagger::default());
        Self { inspector, interest, shard, position, near_end: false, mark, tagger }
    }

    /// The same, noting where the log ends, and knowing tags.
    pub(super) fn with(mut self, mark: Option<Arc<Mark>>, tagger: Tagger) -> Self {
        (self.mark, self.tagger) = (mark, tagger);
        self
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Everything up to this offset has been given out.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The next page. Waits until there is one, also while the shard has no leader; call it on a tokio runtime.
    ///
    /// # Errors
    /// [`FeedError`] when waiting does not help. The position stays, so that a later call tries again.
    ///
    /// # Cancel safety
    /// Safe: the position moves with the answer.
    pub async fn next(&mut self) -> Result<Page, FeedError> {
        loop {
            if let Some(page) = self.step().await? {
                self.position = page.through;
                return Ok(page);
            }
        }
    }

    /// One request, which waits where the log is: what is behind the position, or word that nothing came.
    async fn step(&mut self) -> Result<Option<Page>, FeedError> {
        let shard = self.shard;
        if std::mem::take(&mut self.near_end) {
            self.note_end();
        }
        let follow = || self.inspector.follow(shard, self.position, PAGE_BYTES);
        let batches = patiently(shard, follow).await?;
        if batches.is_empty() {
            self.note_end();
            return Ok(None);
        }
        // Whoever handled a page with that much room left has handled what there was. Waiting for word of it would show an idle subscriber as late.
        self.near_end = batches.iter().map(Bytes::len).sum::<usize>() < PAGE_BYTES / 2;
        let mut page = Page { shard, facts: Vec::new(), through: self.position };
        for bytes in batches {
            let corrupt =
                |reason| FeedError::Corrupt { shard, offset: page.through.next(), reason };
            let batch = Batch::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
            self.take(&batch, &mut page)?;
        }
        Ok(Some(page))
    }

    fn note_end(&self) {
        if let Some(mark) = &self.mark {
            mark.at_end(self.shard);
        }
    }

    fn take(&self, batch: &Batch, page: &mut Page) -> Result<(), FeedError> {
        let (shard, expected) = (self.shard, page.through.next());
        if batch.shard() != shard || batch.first() > expected || batch.last() < expected {
            let found = batch.first();
            return Err(FeedError::Gap { shard, expected, found });
        }
        for stored in batch.records().filter(|stored| stored.offset >= expected) {
            let corrupt = |reason| FeedError::Corrupt { shard, offset: stored.offset, reason };
            let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
            if self.interest.wants_record(&record) {
                Fact::of_record(
                    shard,
                    &stored,
                    &record,
                    &self.interest,
                    &self.tagger,
                    &mut page.facts,
                )
                .map_err(corrupt)?;
            }
        }
        if self.interest.wants_notifications() {
            page.facts = page.facts.drain(..).map(Fact::without_payload).collect();
        }
        page.through = batch.last();
        Ok(())
    }
}

/// Reads until there is an answer, with pauses while it cannot be had for a time.
pub(super) async fn patiently<T>(
    shard: ShardId,
    read: impl Fn() -> Pending<Result<T, AskError>>,
) -> Result<T, FeedError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match read().await {
            Ok(answer) => return Ok(answer),
            Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff) => {
                tracing::debug!(%shard, %error, "a reader of a log waits");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(source) => return Err(FeedError::Unreadable { shard, source }),
        }
    }
}

impl std::fmt::Debug for ShardFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardFeed")
            .field("shard", &self.shard)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Why a log cannot be followed. Nothing was skipped: the position stands before what could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The log cannot be read.
    #[error("the log of shard {shard} cannot be read")]
    Unreadable {
        /// The shard.
        shard: ShardId,
        /// What was said.
        source: AskError,
    },
    /// What was read is no batch of this shard.
    #[error("shard {shard}, offset {offset}: {reason}")]
    Corrupt {
        /// The shard.
        shard: ShardId,
        /// Where.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// Something is missing.
    #[error("shard {shard}: expected offset {expected}, the log goes on at {found}")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// What should have come.
        expected: Offset,
        /// What came.
        found: Offset,
    },
}
