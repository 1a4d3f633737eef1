//! The failure log as an entity: its id is the number of its part, its events are the topic of failures.

use std::collections::BTreeMap;

use holm_core::{FailureId, Timestamp};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::books::{Books, FailureRow, Settlement, row_key};
use crate::commands::Commands;
use crate::context::Context;
use crate::effect::Effect;
use crate::entity::{Entity, Handle, NoRejection, Read};
use crate::failure::{FailedCommand, FailureFact, FailureKind, Subject};
use crate::{Command, Event};

/// Parts of the log. Enough that a storm of failures is written by several shards, few enough that a list asks them all.
pub(super) const PARTS: usize = 16;

/// Bytes of one page of a list: three quarters of what a reply may have.
const PAGE_BYTES: usize = 48 * 1024;

/// What failed, and what was done about it: one of sixteen parts. Follow it by the bus to see failures as they come:
///
/// ```
/// use holm_runtime::FailureLog;
/// use holm_runtime::bus::Interest;
///
/// let failures = Interest::of::<FailureLog>();
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FailureLog {
    books: Books,
}

/// What the failure log tells.
#[derive(Debug, Clone, Event, Serialize, Deserialize)]
pub enum FailureEvent {
    /// Something failed and was contained.
    Failed {
        /// What.
        fact: FailureFact,
    },
    /// Somebody did something about it.
    Settled {
        /// What had failed.
        subject: Subject,
        /// In which way.
        kind: FailureKind,
        /// The newest failure at that time.
        failure: FailureId,
        /// What was done.
        how: Settlement,
        /// When.
        at: Timestamp,
    },
}

/// Stores a fact, once.
#[derive(Debug, Command, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) fact: FailureFact,
}

/// Says that something was done about a failure. The reply is false when that is not the newest of its row any more.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = bool)]
pub(super) struct Settle {
    pub(super) subject: Subject,
    pub(super) kind: FailureKind,
    pub(super) failure: FailureId,
    pub(super) how: Settlement,
}

/// Rows behind a key, without the commands' payloads.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Page)]
pub(super) struct List {
    pub(super) after: String,
}

/// Some rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) rows: Vec<FailureRow>,
    /// The key behind which the next page begins; none at the end.
    pub(super) next: Option<String>,
    pub(super) evicted: u64,
}

/// The command that failed last in a row, with its payload.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Option<FailedCommand>)]
pub(super) struct Kept {
    pub(super) subject: Subject,
    pub(super) kind: FailureKind,
    pub(super) failure: FailureId,
}

/// How much stands open.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Count)]
pub(super) struct CountOpen {}

/// How much stands open in one part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) open: BTreeMap<FailureKind, u64>,
    pub(super) quarantined: u64,
    pub(super) rows: u64,
    pub(super) evicted: u64,
}

/// The part that a subject belongs to.
pub(super) fn part_of(subject: &Subject) -> String {
    part(part_number(subject))
}

/// Its number.
pub(super) fn part_number(subject: &Subject) -> usize {
    let hash = XxHash3_64::oneshot(subject.to_string().as_bytes()) % PARTS as u64;
    usize::try_from(hash).expect("below the number of parts")
}

/// Every part.
pub(super) fn parts() -> impl Iterator<Item = String> {
    (0..PARTS).map(part)
}

fn part(number: usize) -> String {
    format!("part-{number:02}")
}

impl Entity for FailureLog {
    const TYPE: &'static str = "holm-failures";
    type Event = FailureEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &FailureEvent) {
        match event {
            FailureEvent::Failed { fact } => self.books.failed(fact.clone()),
            FailureEvent::Settled { subject, kind, failure, how, .. } => {
                self.books.settled(&row_key(subject, *kind), *failure, *how);
            }
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Report>().handle::<Settle>();
        commands.read::<List>().read::<Kept>().read::<CountOpen>();
    }
}

impl Handle<Report> for FailureLog {
    fn handle(
        &self,
        Report { fact }: Report,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        if self.books.knows(&fact) {
            return Ok(cx.none().no_reply());
        }
        Ok(cx.persist(FailureEvent::Failed { fact }).no_reply())
    }
}

impl Handle<Settle> for FailureLog {
    fn handle(
        &self,
        Settle { subject, kind, failure, how }: Settle,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, bool>, NoRejection> {
        let newest = self.books.row(&row_key(&subject, kind)).map(|row| row.failure);
        if newest != Some(failure) {
            return Ok(cx.none().reply(|_| false));
        }
        let at = cx.now();
        Ok(cx.persist(FailureEvent::Settled { subject, kind, failure, how, at }).reply(|_| true))
    }
}

impl Read<List> for FailureLog {
    fn read(&self, List { after }: List, _: &Context<'_, Self>) -> Result<Page, NoRejection> {
        let mut page = Page { rows: Vec::new(), next: None, evicted: self.books.evicted() };
        let (mut bytes, mut last) = (0, None);
        for (key, row) in self.books.after(&after) {
            bytes += rough_bytes(key, row);
            if bytes > PAGE_BYTES && last.is_some() {
                page.next = last;
                break;
            }
            let mut row = row.clone();
            if let Some(command) = &mut row.command {
                command.payload = None;
            }
            page.rows.push(row);
            last = Some(key.clone());
        }
        Ok(page)
    }
}

/// At least as many bytes as the row takes in a page.
fn rough_bytes(key: &str, row: &FailureRow) -> usize {
    let causes: usize = row.causes.iter().map(|cause| cause.len() + 8).sum();
    let command = row.command.as_ref();
    200 + key.len() + causes + command.map_or(0, |command| command.name.len() + command.key.len())
}

impl Read<Kept> for FailureLog {
    fn read(
        &self,
        Kept { subject, kind, failure }: Kept,
        _: &Context<'_, Self>,
    ) -> Result<Option<FailedCommand>, NoRejection> {
        let row = self.books.row(&row_key(&subject, kind)).filter(|row| row.failure == failure);
        Ok(row.filter(|row| row.is_open()).and_then(|row| row.command.clone()))
    }
}

impl Read<CountOpen> for FailureLog {
    fn read(&self, _: CountOpen, _: &Context<'_, Self>) -> Result<Count, NoRejection> {
        let mut count = Count { evicted: self.books.evicted(), ..Count::default() };
        for (_, row) in self.books.rows() {
            count.rows += 1;
            count.quarantined += u64::from(row.is_quarantined());
            if row.is_open() {
                *count.open.entry(row.kind).or_default() += 1;
            }
        }
        Ok(count)
    }
}
