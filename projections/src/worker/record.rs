//! A group that failed, record by record: what is well goes into the view, and the one that is not is tried again, set aside or stopped at (law O2).

use std::ops::Range;
use std::sync::Arc;

use holm_runtime::FailureKind;
use holm_runtime::bus::{Fact, Position};

use super::pass::{Pass, Side};
use super::{Ending, Ground};
use crate::failure::Then;
use crate::observer::Notice;
use crate::projection::{HandlerError, Projection};
use crate::status::State;
use crate::view::{Change, SetAside, View, WriteError};

/// Bytes of a reason that are kept.
const REASON: usize = 1_024;

impl<P: Projection<V>, V: View> Pass<'_, P, V> {
    pub(super) async fn one_by_one(
        &mut self,
        facts: &Arc<[Fact]>,
        error: HandlerError,
    ) -> Result<(), Ending> {
        let records = records(facts);
        // A group of one record has failed by itself already.
        let mut failure = (records.len() == 1).then_some(error);
        for range in records {
            self.one(facts, range, failure.take()).await?;
        }
        Ok(())
    }

    /// One record into the view, or out of the way.
    async fn one(
        &mut self,
        facts: &Arc<[Fact]>,
        range: Range<usize>,
        mut failure: Option<HandlerError>,
    ) -> Result<(), Ending> {
        let policy = self.ground.options.on_failure;
        let record = &facts[range.clone()];
        let mut attempt = 0;
        loop {
            let error = match failure.take() {
                Some(error) => error,
                None => {
                    let change = self.change_to(record);
                    match self.write(change, facts, range.clone()).await {
                        Ok(()) => {
                            self.went_behind(record);
                            self.handled(record.len());
                            return Ok(());
                        }
                        Err(WriteError::Handler(error)) => error,
                        Err(error) => return Err(Ending::of(error, record)),
                    }
                }
            };
            attempt += 1;
            let reason = shortened(error.to_string());
            self.failed(&record[0], &reason, attempt);
            if attempt <= policy.retries {
                tokio::time::sleep(policy.pause).await;
                continue;
            }
            return match policy.then {
                Then::Fail => Err(Ending::Handler { fact: record[0].clone(), reason }),
                Then::Skip => self.put_aside(record, reason, false).await,
                Then::Park => self.put_aside(record, reason, true).await,
            };
        }
    }

    fn failed(&self, fact: &Fact, reason: &str, attempt: u32) {
        let ground = &self.ground;
        let (shard, offset) = (fact.shard(), fact.offset());
        let projection = ground.identity.name;
        tracing::warn!(projection, %shard, %offset, attempt, reason, "a projection's handler failed");
        ground.count("failed", 1);
        if self.side == Side::Present {
            ground.board.troubled(State::Retrying, reason);
        }
        ground.notice(&Notice::HandlerFailed { shard, offset, reason, attempt });
    }

    async fn put_aside(
        &mut self,
        record: &[Fact],
        reason: String,
        parked: bool,
    ) -> Result<(), Ending> {
        let set_aside = set_aside_of(self.ground, record, reason, parked);
        let change = Change { set_aside: vec![set_aside.clone()], ..self.change_to(record) };
        let nothing: Arc<[Fact]> = Arc::new([]);
        let written = self.write(change, &nothing, 0..0).await;
        written.map_err(|error| Ending::of(error, record))?;
        self.went_behind(record);
        if self.side == Side::Present {
            self.ground.board.well();
            self.ground.count(if parked { "parked" } else { "skipped" }, record.len());
        }
        tell_of(self.ground, record, &set_aside);
        Ok(())
    }

    fn change_to(&self, record: &[Fact]) -> Change {
        let (shard, to) = (record[0].shard(), record[0].offset());
        Change { moves: vec![(shard, self.kept.of(shard), to)], ..Change::default() }
    }

    fn went_behind(&mut self, record: &[Fact]) {
        let (shard, offset) = (record[0].shard(), record[0].offset());
        self.kept.0.insert(shard, offset);
        self.publish(&Position([(shard, offset)].into()));
    }
}

pub(crate) fn set_aside_of<P>(
    ground: &Ground<P>,
    record: &[Fact],
    reason: String,
    parked: bool,
) -> SetAside {
    let events: Vec<_> = record.iter().map(Fact::name).collect();
    let first = record.first();
    SetAside {
        shard: first.map(Fact::shard).unwrap_or_default(),
        offset: first.map(Fact::offset).unwrap_or_default(),
        events: shortened(events.join(",")),
        entity: first.map(|fact| fact.address().to_string()).unwrap_or_default(),
        reason,
        at: ground.options.clock.now(),
        parked,
    }
}

/// Nothing is left out in silence: it stands where the position does, in the trace, and is a failure fact.
pub(crate) fn tell_of<P>(ground: &Ground<P>, record: &[Fact], set_aside: &SetAside) {
    let SetAside { shard, offset, events, entity, reason, parked, .. } = set_aside;
    let projection = ground.identity.name;
    tracing::warn!(projection, %shard, %offset, entity, reason, parked, "a record was left out");
    let kind = if *parked { FailureKind::RecordParked } else { FailureKind::RecordSkipped };
    let what = format!("offset {offset} of shard {shard} ({events} of {entity}): {reason}");
    ground.failures.tell(kind, record.first(), &what);
    ground.notice(&Notice::SetAside(set_aside));
}

/// Where each record among the facts begins and ends.
fn records(facts: &[Fact]) -> Vec<Range<usize>> {
    let mut records: Vec<Range<usize>> = Vec::new();
    let place = |fact: &Fact| (fact.shard(), fact.offset());
    for (index, fact) in facts.iter().enumerate() {
        match records.last_mut() {
            Some(last) if place(&facts[last.start]) == place(fact) => last.end = index + 1,
            _ => records.push(index..index + 1),
        }
    }
    records
}

pub(crate) fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON));
    text
}
