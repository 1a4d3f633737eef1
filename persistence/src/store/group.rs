//! One group commit in the making: the changes of many commits, checked one after the other and merged into one batch of the database.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sled::IVec;

use super::database::Changes;
use super::engine::Engine;
use super::error::StoreError;
use super::keys::{self, MAX_INDEX, MAX_NAME_BYTES};
use super::logs::{Logs, PURGED_RECORD};
use super::op::{LogId, Op};
use super::side_file::Extent;
use super::value::{self, MAX_ENTRY_BYTES, MAX_PAYLOAD_BYTES};

/// Most bytes of the records of a log: half a value, so that the bound on their encoded length need not be exact.
const MAX_RECORDS_BYTES: usize = MAX_PAYLOAD_BYTES / 2;

/// The changes of a group, and how far the logs reach after it.
#[derive(Debug)]
pub(super) struct Group<'a> {
    dir: &'a Path,
    engine: &'a Engine,
    before: &'a Logs,
    pub(super) after: Logs,
    changes: BTreeMap<IVec, Option<IVec>>,
    scratch: Vec<u8>,
    pub(super) appended: u64,
    /// Some commit of the group is more than a value or does more than append, and must be there whole or not at all.
    joined: bool,
}

impl<'a> Group<'a> {
    pub(super) fn new(dir: &'a Path, engine: &'a Engine, before: &'a Logs) -> Self {
        let (after, changes, scratch) = (before.clone(), BTreeMap::new(), Vec::new());
        Self { dir, engine, before, after, changes, scratch, appended: 0, joined: false }
    }

    /// Adds one commit: all its operations, or none when one breaks a rule.
    pub(super) fn add(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut extents = BTreeMap::new();
        let mut put_bytes = 0;
        for op in &ops {
            self.check(op, &mut extents, &mut put_bytes)?;
        }
        for op in ops {
            self.take(op)?;
        }
        Ok(())
    }

    /// The logs that end earlier than before, or begin later with nothing left.
    pub(super) fn shortened(&self) -> impl Iterator<Item = LogId> + '_ {
        self.before.extents.iter().filter_map(|(&log, before)| {
            let after = self.after.extents.get(&log);
            after
                .is_none_or(|after| after.last < before.last || after.first > before.last)
                .then_some(log)
        })
    }

    pub(super) fn into_changes(self) -> (Changes, Logs) {
        let changes: Changes = self.changes.into_iter().collect();
        (if self.joined { changes } else { changes.separable() }, self.after)
    }

    /// Checks an operation against the logs as they will be, and notes how it changes them in `extents` (none: the log is empty).
    fn check(
        &self,
        op: &Op,
        extents: &mut BTreeMap<LogId, Option<Extent>>,
        put_bytes: &mut usize,
    ) -> Result<(), StoreError> {
        let extent = |extents: &BTreeMap<LogId, Option<Extent>>, log: LogId| {
            extents.get(&log).copied().unwrap_or_else(|| self.after.extents.get(&log).copied())
        };
        match *op {
            Op::Append { log, index, ref value } => {
                let before = extent(extents, log);
                let purged = self.after.purged(log);
                let expected = before.map_or_else(
                    || purged.map(|index| index.saturating_add(1)),
                    |e| Some(e.last + 1),
                );
                if expected.is_some_and(|expected| expected != index) || index > MAX_INDEX {
                    let reason =
                        format!("entry {index} does not follow {:?}", before.map(|e| e.last));
                    return Err(StoreError::Refused { log, reason });
                }
                refuse_longer(log, "an entry", value.len(), MAX_ENTRY_BYTES)?;
                let first = before.map_or(index, |e| e.first);
                extents.insert(log, Some(Extent { first, last: index }));
            }
            Op::TruncateFrom { log, index } => {
                let kept = extent(extents, log).filter(|e| e.first < index);
                extents.insert(log, kept.map(|e| Extent { last: e.last.min(index - 1), ..e }));
            }
            Op::PurgeTo { log, index } => {
                let kept = extent(extents, log).filter(|e| e.last > index);
                extents.insert(log, kept.map(|e| Extent { first: e.first.max(index + 1), ..e }));
            }
            Op::PutRecord { log, name, ref value } => {
                refuse_longer(log, "the name of a record", name.len(), MAX_NAME_BYTES)?;
                let bytes = self.after.records(log).bytes_with(name, value.len());
                // Counted as if all records of the commit belonged to this log.
                refuse_longer(log, "the records of a log", bytes + *put_bytes, MAX_RECORDS_BYTES)?;
                *put_bytes += name.len() + value.len() + 32;
            }
        }
        Ok(())
    }

    fn take(&mut self, op: Op) -> Result<(), StoreError> {
        // An appended entry of one part is the only change that means something by itself: a log may end after any of them.
        self.joined |= match &op {
            Op::Append { value, .. } => value::part_count(value.len()) > 1,
            Op::TruncateFrom { .. } | Op::PurgeTo { .. } | Op::PutRecord { .. } => true,
        };
        match op {
            Op::Append { log, index, value } => self.append(log, index, &value),
            Op::TruncateFrom { log, index } => {
                if let Some(extent) = self.after.extents.get(&log).copied() {
                    self.remove(log, index.max(extent.first), extent.last)?;
                    if index <= extent.first {
                        self.after.extents.remove(&log);
                    } else {
                        let last = extent.last.min(index - 1);
                        self.after.extents.insert(log, Extent { last, ..extent });
                    }
                }
            }
            Op::PurgeTo { log, index } => self.purge(log, index)?,
            Op::PutRecord { log, name, value } => self.put_record(log, name, value),
        }
        Ok(())
    }

    fn append(&mut self, log: LogId, index: u64, value: &Bytes) {
        let changes = &mut self.changes;
        let key_of = |part| keys::part_key(log, index, part);
        value::cut(value, &mut self.scratch, key_of, |key, value| {
            changes.insert(IVec::from(&key[..]), Some(value));
        });
        let extent = self.after.extents.entry(log).or_insert(Extent { first: index, last: index });
        extent.last = index;
        self.appended += 1;
    }

    fn purge(&mut self, log: LogId, index: u64) -> Result<(), StoreError> {
        if let Some(extent) = self.after.extents.get(&log).copied() {
            self.remove(log, extent.first, extent.last.min(index))?;
            if index >= extent.last {
                self.after.extents.remove(&log);
            } else {
                let first = extent.first.max(index + 1);
                self.after.extents.insert(log, Extent { first, ..extent });
            }
        }
        let purged = self.after.purged(log).map_or(index, |before| before.max(index));
        self.put_record(log, PURGED_RECORD, Bytes::copy_from_slice(&purged.to_be_bytes()));
        Ok(())
    }

    fn put_record(&mut self, log: LogId, name: &str, value: Bytes) {
        let records = self.after.records.entry(log).or_default();
        Arc::make_mut(records).put(name, value);
        let (key, sealed) = records.seal(log, &mut self.scratch);
        self.changes.insert(key, Some(sealed));
    }

    /// Removes the parts of the entries `first..=last`: those in the database and those of this group.
    fn remove(&mut self, log: LogId, first: u64, last: u64) -> Result<(), StoreError> {
        if first > last {
            return Ok(());
        }
        let range = keys::entry_range(log, first..last + 1);
        let stored = self
            .engine
            .read("looking for entries to remove", |tree| tree.keys(range.clone(), usize::MAX))?;
        let (start, end) = (IVec::from(&range.start[..]), IVec::from(&range.end[..]));
        for (_, change) in self.changes.range_mut(start..end) {
            *change = None;
        }
        self.changes.extend(stored.into_iter().map(|key| (key, None)));
        tracing::debug!(dir = %self.dir.display(), %log, first, last, "entries are removed");
        Ok(())
    }
}

fn refuse_longer(log: LogId, what: &str, length: usize, allowed: usize) -> Result<(), StoreError> {
    if length <= allowed {
        return Ok(());
    }
    Err(StoreError::Refused {
        log,
        reason: format!("{what} has {length} bytes, {allowed} are allowed"),
    })
}
