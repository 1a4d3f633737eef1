//! Our tables in a view: whose it is, how far it is, and what was left out.

use holm_core::{Offset, ShardId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::guard::Guard;
use super::{SqliteView, is_passing, view_error};
use crate::projection::HandlerError;
use crate::view::{Change, Identity, SET_ASIDE, SetAside, Stored, ViewError, Work, WriteError};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS holm_projections (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, paused INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS holm_positions (
        shard INTEGER PRIMARY KEY, position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS holm_parked (
        shard INTEGER NOT NULL, record INTEGER NOT NULL, events TEXT NOT NULL, entity TEXT NOT NULL,
        reason TEXT NOT NULL, at_ms INTEGER NOT NULL, outcome TEXT NOT NULL,
        PRIMARY KEY (shard, record)
    ) STRICT;";

const PARKED: &str = "parked";
const SKIPPED: &str = "skipped";

/// Makes the tables and says what is stored.
pub(super) fn adopt(
    tx: &mut Transaction<'_>,
    guard: &Guard,
    projection: Identity,
    prepare: Work<'_, SqliteView>,
) -> Result<Stored, WriteError> {
    let (version, paused) = own(tx, projection)?;
    if version == projection.version {
        foreign(tx, guard, prepare)?;
    }
    let position = positions(tx).map_err(|error| view_error(&error))?;
    Ok(Stored { version, position, paused })
}

fn own(tx: &Transaction<'_>, projection: Identity) -> Result<(u32, bool), ViewError> {
    let row = || -> rusqlite::Result<_> {
        tx.execute_batch(SCHEMA)?;
        let sql = "SELECT name, version, paused FROM holm_projections";
        tx.query_row(sql, [], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))
            .optional()
    };
    match row().map_err(|error| view_error(&error))? {
        Some((name, version, paused)) if name == projection.name => Ok((version, paused)),
        Some((holds, ..)) => Err(ViewError::OfAnother { holds, wanted: projection.name }),
        None => {
            let sql = "INSERT INTO holm_projections VALUES (?, ?, 0)";
            tx.execute(sql, params![projection.name, projection.version])
                .map_err(|error| view_error(&error))?;
            Ok((projection.version, false))
        }
    }
}

/// Does the work and the change.
pub(super) fn write(
    tx: &mut Transaction<'_>,
    guard: &Guard,
    change: &Change,
    work: Work<'_, SqliteView>,
) -> Result<(), WriteError> {
    check_places(tx, change)?;
    foreign(tx, guard, work)?;
    put_aside(tx, change)?;
    let moved = || -> rusqlite::Result<()> {
        let sql = "INSERT INTO holm_positions VALUES (?, ?)
                   ON CONFLICT DO UPDATE SET position = excluded.position";
        let mut put = tx.prepare_cached(sql)?;
        for (shard, _, to) in &change.moves {
            put.execute(params![shard.0, to.0])?;
        }
        Ok(())
    };
    moved().map_err(|error| view_error(&error).into())
}

/// Runs what is not ours. A failure of the disk is none of the handler's, whatever statement met it.
fn foreign(
    tx: &mut Transaction<'_>,
    guard: &Guard,
    work: Work<'_, SqliteView>,
) -> Result<(), WriteError> {
    guard.around(|| work(tx)).map_err(|error| match store_trouble(&error) {
        Some(trouble) => WriteError::View(trouble),
        None => WriteError::Handler(error),
    })?;
    // An error inside a statement can make SQLite undo the whole transaction while the handler goes on.
    if tx.is_autocommit() {
        return Err(WriteError::Handler("the transaction ended before the handler did".into()));
    }
    Ok(())
}

fn store_trouble(error: &HandlerError) -> Option<ViewError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(sqlite) = error.downcast_ref::<rusqlite::Error>() {
            return is_passing(sqlite).then(|| view_error(sqlite));
        }
        cause = error.source();
    }
    None
}

fn check_places(tx: &Transaction<'_>, change: &Change) -> Result<(), WriteError> {
    for (shard, expected, _) in &change.moves {
        let found = || -> rusqlite::Result<Option<u64>> {
            let sql = "SELECT position FROM holm_positions WHERE shard = ?";
            tx.prepare_cached(sql)?.query_row([shard.0], |row| row.get(0)).optional()
        };
        let found = Offset(found().map_err(|error| view_error(&error))?.unwrap_or_default());
        if found != *expected {
            return Err(WriteError::Fenced { shard: *shard, expected: *expected, found });
        }
    }
    Ok(())
}

fn put_aside(tx: &Transaction<'_>, change: &Change) -> Result<(), ViewError> {
    let put = || -> rusqlite::Result<usize> {
        if let Some((shard, offset)) = change.taken_up {
            let sql = "DELETE FROM holm_parked WHERE shard = ? AND record = ? AND outcome = ?";
            if tx.execute(sql, params![shard.0, offset.0, PARKED])? != 1 {
                return Err(rusqlite::Error::QueryReturnedNoRows);
            }
        }
        for aside in &change.set_aside {
            let outcome = if aside.parked { PARKED } else { SKIPPED };
            let (shard, offset, at) = (aside.shard.0, aside.offset.0, aside.at.as_millis());
            tx.execute(
                "INSERT INTO holm_parked VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![shard, offset, aside.events, aside.entity, aside.reason, at, outcome],
            )?;
        }
        if change.set_aside.is_empty() {
            return Ok(0);
        }
        tx.query_row("SELECT count(*) FROM holm_parked", [], |row| row.get(0))
    };
    match put().map_err(|error| view_error(&error))? {
        number if number > SET_ASIDE => Err(ViewError::TooManySetAside { limit: SET_ASIDE }),
        _ => Ok(()),
    }
}

pub(super) fn set_paused(tx: &Transaction<'_>, paused: bool) -> rusqlite::Result<()> {
    tx.execute("UPDATE holm_projections SET paused = ?", [paused]).map(drop)
}

pub(super) fn set_aside(connection: &Connection) -> rusqlite::Result<Vec<SetAside>> {
    let there = "SELECT count(*) FROM sqlite_master WHERE name = 'holm_parked'";
    if connection.query_row(there, [], |row| row.get::<_, u64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT shard, record, events, entity, reason, at_ms, outcome FROM holm_parked
               ORDER BY shard, record";
    let mut rows = connection.prepare_cached(sql)?;
    let set_aside = rows.query_map([], |row| {
        Ok(SetAside {
            shard: ShardId(row.get(0)?),
            offset: Offset(row.get(1)?),
            events: row.get(2)?,
            entity: row.get(3)?,
            reason: row.get(4)?,
            at: Timestamp::from_millis(row.get(5)?),
            parked: row.get::<_, String>(6)? == PARKED,
        })
    })?;
    set_aside.collect()
}

fn positions(connection: &Connection) -> rusqlite::Result<holm_runtime::bus::Position> {
    let mut rows = connection.prepare("SELECT shard, position FROM holm_positions")?;
    let places = rows.query_map([], |row| Ok((ShardId(row.get(0)?), Offset(row.get(1)?))))?;
    Ok(holm_runtime::bus::Position(places.collect::<rusqlite::Result<_>>()?))
}
