//! How far each log reaches: the extents that are durable, found at opening, and kept while groups are committed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sled::IVec;

use super::LogId;
use super::database::TreeView;
use super::engine::Engine;
use super::error::StoreError;
use super::keys::{self, Named};
use super::records::Records;
use super::side_file::{Extent, Reach};
use super::value;

/// The record that says how far a log was purged. It is written together with the purge.
pub(super) const PURGED_RECORD: &str = "holm.purged";

/// The extent and the records of every log that has some.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs {
    pub(super) extents: BTreeMap<LogId, Extent>,
    pub(super) records: BTreeMap<LogId, Arc<Records>>,
}

impl Logs {
    /// Finds all logs of a database and verifies the last entry of each.
    pub(super) fn find(dir: &Path, engine: &Engine) -> Result<Self, StoreError> {
        let mut logs = Self::default();
        let mut from = Some(LogId(0));
        while let Some(start) = from {
            let Some(log) = next_log(dir, engine, start)? else { break };
            if let Some(records) = read_records(dir, engine, log)? {
                logs.records.insert(log, Arc::new(records));
            }
            if let Some(extent) = find_extent(dir, engine, log)? {
                read_entry(dir, engine, log, extent.last)?;
                logs.extents.insert(log, extent);
            }
            from = log.0.checked_add(1).map(LogId);
        }
        Ok(logs)
    }

    /// The records of a log.
    pub(super) fn records(&self, log: LogId) -> Arc<Records> {
        self.records.get(&log).cloned().unwrap_or_default()
    }

    /// How far a log was purged.
    pub(super) fn purged(&self, log: LogId) -> Option<u64> {
        let record = self.records.get(&log)?.get(PURGED_RECORD)?;
        // It was written by this store and its checksum held.
        record[..].try_into().ok().map(u64::from_be_bytes)
    }

    /// How far each log reaches, for the side file and the tail file.
    pub(super) fn reaches(&self) -> BTreeMap<LogId, Reach> {
        let mut reaches: BTreeMap<LogId, Reach> = BTreeMap::new();
        for (&log, &extent) in &self.extents {
            reaches.entry(log).or_default().extent = Some(extent);
        }
        for (&log, records) in &self.records {
            reaches.entry(log).or_default().records = records.version;
        }
        reaches
    }

    /// Checks that everything is there that must be.
    pub(super) fn verify(
        &self,
        dir: &Path,
        expected: &BTreeMap<LogId, Reach>,
    ) -> Result<(), StoreError> {
        for (&log, expected) in expected {
            if let Some(extent) = expected.extent {
                self.verify_extent(dir, log, extent)?;
            }
            let found = self.records(log).version;
            if found < expected.records {
                return Err(records_damaged(
                    dir,
                    log,
                    &format!("they are of version {found}, {} was acknowledged", expected.records),
                ));
            }
        }
        Ok(())
    }

    fn verify_extent(&self, dir: &Path, log: LogId, expected: Extent) -> Result<(), StoreError> {
        let dir = dir.to_owned();
        let found = self.extents.get(&log);
        let Some(found) = found.filter(|found| found.last >= expected.last) else {
            let (expected, found) = (expected.last, found.map(|found| found.last));
            return Err(StoreError::EntriesMissing { dir, log, expected, found });
        };
        let begins = self.purged(log).map_or(expected.first, |purged| purged.saturating_add(1));
        if found.first > begins.max(expected.first) {
            let reason = format!("the log begins at {} only", found.first);
            return Err(StoreError::EntryDamaged { dir, log, index: begins, reason });
        }
        Ok(())
    }
}

fn next_log(dir: &Path, engine: &Engine, from: LogId) -> Result<Option<LogId>, StoreError> {
    let start = keys::part_key(from, 0, 0);
    let first = engine.read("looking for logs", |tree| tree.first(start..))?;
    let Some((key, _)) = first else { return Ok(None) };
    match keys::parse_key(&key) {
        Some(Named::Part { log, .. } | Named::Records { log }) => Ok(Some(log)),
        None => Err(StoreError::Damaged {
            dir: dir.to_owned(),
            during: "looking for logs",
            reason: format!("a key of {} bytes is in the log tree", key.len()),
        }),
    }
}

fn find_extent(dir: &Path, engine: &Engine, log: LogId) -> Result<Option<Extent>, StoreError> {
    let (first, last) = engine.read("looking for the ends of a log", |tree| {
        Ok((tree.first(keys::log_range(log))?, tree.last(keys::log_range(log))?))
    })?;
    let index_of = |key: IVec| match keys::parse_key(&key) {
        Some(Named::Part { index, .. }) => Ok(index),
        _ => Err(records_damaged(dir, log, "a key among its entries is none")),
    };
    match (first, last) {
        (Some((first, _)), Some((last, _))) => {
            Ok(Some(Extent { first: index_of(first)?, last: index_of(last)? }))
        }
        _ => Ok(None),
    }
}

/// The entry at an index that must be there, its parts joined and verified.
pub(super) fn read_entry(
    dir: &Path,
    engine: &Engine,
    log: LogId,
    index: u64,
) -> Result<Bytes, StoreError> {
    let range = keys::entry_range(log, index..index + 1);
    let parts = engine.read("reading an entry", |tree| tree.pairs(range))?;
    value::join(&parts).map_err(|reason| StoreError::EntryDamaged {
        dir: dir.to_owned(),
        log,
        index,
        reason,
    })
}

/// The entries `from..to` in order, up to about `max_bytes`; all of them must be there.
pub(super) fn read_entries(
    dir: &Path,
    engine: &Engine,
    log: LogId,
    indices: std::ops::Range<u64>,
    max_bytes: usize,
) -> Result<Vec<(u64, Bytes)>, StoreError> {
    let mut entries: Vec<(u64, Bytes)> = Vec::new();
    let mut bytes = 0;
    let damaged =
        |index, reason| StoreError::EntryDamaged { dir: dir.to_owned(), log, index, reason };
    let mut next = indices.start;
    while next < indices.end && (entries.is_empty() || bytes < max_bytes) {
        // A stretch of parts at a time, so that the database is not asked once per entry.
        let stretch = engine.read("reading entries", |tree| {
            let range = keys::entry_range(log, next..indices.end);
            stretch(tree, range, max_bytes.saturating_sub(bytes))
        })?;
        let before = next;
        for parts in stretch.chunk_by(|a, b| a.0.get(..12) == b.0.get(..12)) {
            if keys::parse_key(&parts[0].0) != Some(Named::Part { log, index: next, part: 0 }) {
                return Err(damaged(next, "it is missing".to_owned()));
            }
            let entry = value::join(parts).map_err(|reason| damaged(next, reason))?;
            bytes += entry.len();
            entries.push((next, entry));
            next += 1;
        }
        if next == before {
            return Err(damaged(next, "it is missing".to_owned()));
        }
    }
    Ok(entries)
}

/// The next whole entries: at least one, then until `max_bytes`.
fn stretch(
    tree: TreeView<'_>,
    range: std::ops::Range<keys::PartKey>,
    max_bytes: usize,
) -> sled::Result<Vec<(IVec, IVec)>> {
    let mut stretch: Vec<(IVec, IVec)> = Vec::new();
    let mut bytes = 0;
    tree.visit(range, |key, value| {
        let begins = stretch.last().is_some_and(|(last, _)| last.get(..12) != key.get(..12));
        if begins && bytes >= max_bytes {
            return ControlFlow::Break(());
        }
        bytes += value.len();
        stretch.push((key, value));
        ControlFlow::Continue(())
    })?;
    Ok(stretch)
}

/// The named records of a log, verified.
fn read_records(dir: &Path, engine: &Engine, log: LogId) -> Result<Option<Records>, StoreError> {
    let key = keys::record_key(log);
    let value = engine.read("reading records", |tree| tree.get(key))?;
    let records = value.map(|value| Records::unseal(log, value)).transpose();
    records.map_err(|reason| records_damaged(dir, log, &reason))
}

fn records_damaged(dir: &Path, log: LogId, reason: &str) -> StoreError {
    let reason = format!("the records of log {log}: {reason}");
    StoreError::Damaged { dir: dir.to_owned(), during: "reading records", reason }
}
