//! Our tables beside a view: whose it is, which one is the present one, how far it is, and what was left out.

use holm_core::{Offset, ShardId, Timestamp};
use holm_runtime::bus::Position;
use postgres::types::{FromSql, Type};
use postgres::{Row, Transaction};

use super::names::Names;
use super::{PostgresView, Side, guard};
use crate::view::{Identity, SetAside, Stored, ViewError, Work, WriteError};

/// The form of our tables. Another one is refused, not guessed at.
const FORM: i32 = 1;

pub(super) const PARKED: &str = "parked";
pub(super) const SKIPPED: &str = "skipped";

/// The row that says which view is the present one, as somebody sees it who holds a share of its lock.
pub(super) struct Ours {
    pub(super) paused: bool,
    pub(super) present: i64,
    pub(super) beside: Option<i64>,
    /// Those who write to the present view wait for a switch.
    pub(super) held: bool,
}

/// Makes what is not there and says what is stored. Those who do it take turns, because two who make the same table at once are told that it is there twice.
pub(super) fn adopt(
    tx: &mut Transaction<'_>,
    names: &Names,
    side: Side,
    projection: Identity,
    prepare: Work<'_, PostgresView>,
) -> Result<Stored, WriteError> {
    tx.query_typed(
        "SELECT pg_advisory_xact_lock(hashtext('holm view'), hashtext($1))",
        &[(&names.present(), Type::TEXT)],
    )?;
    if !are_there(tx, names)? {
        make(tx, names, projection)?;
    }
    let row =
        tx.query_typed_one(&format!("SELECT form, name FROM {}.projection", names.ours()), &[])?;
    let (form, holds): (i32, String) = (row.get(0), row.get(1));
    if form != FORM {
        let ours = names.ours();
        let reason =
            format!("the tables in {ours} are of form {form}, and this program knows {FORM}");
        return Err(ViewError::Broken { reason }.into());
    }
    if holds != projection.name {
        return Err(ViewError::OfAnother { holds, wanted: projection.name }.into());
    }
    let ours = share(tx, names)?;
    let number = number_of(side, &ours)?;
    let version = version_of(tx, names, number)?;
    if version == projection.version {
        search_in(tx, names, side)?;
        guard::around(tx, |tx| prepare(tx))?;
    }
    let position = positions(tx, names, number)?;
    Ok(Stored { version, position, paused: ours.paused })
}

/// True when a projection has been here.
pub(super) fn are_there(tx: &mut Transaction<'_>, names: &Names) -> Result<bool, WriteError> {
    let table = format!("{}.projection", names.ours());
    let there = "SELECT to_regclass($1) IS NOT NULL";
    Ok(tx.query_typed_one(there, &[(&table, Type::TEXT)])?.get(0))
}

fn make(tx: &mut Transaction<'_>, names: &Names, projection: Identity) -> Result<(), WriteError> {
    let (present, ours, version) = (names.quoted(), names.ours(), projection.version);
    let full = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)";
    let full: i64 = tx.query_typed_one(full, &[(&present, Type::TEXT)])?.get(0);
    if full > 0 {
        let reason =
            format!("schema {present} holds something that is no view of Holm; name another one");
        return Err(ViewError::Broken { reason }.into());
    }
    tx.batch_execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS {present};
         CREATE SCHEMA {ours};
         CREATE TABLE {ours}.projection (
             one boolean PRIMARY KEY DEFAULT true CHECK (one), form integer NOT NULL, name text NOT NULL, paused boolean NOT NULL,
             present bigint NOT NULL, beside bigint, highest bigint NOT NULL, held_until timestamptz NOT NULL
         );
         CREATE TABLE {ours}.generations (number bigint PRIMARY KEY, version bigint NOT NULL, schema oid NOT NULL);
         CREATE TABLE {ours}.positions (
             generation bigint, shard bigint, position bigint NOT NULL, PRIMARY KEY (generation, shard)
         );
         CREATE TABLE {ours}.parked (
             generation bigint, shard bigint, record bigint, events text NOT NULL, entity text NOT NULL, reason text NOT NULL,
             at_ms bigint NOT NULL, outcome text NOT NULL, PRIMARY KEY (generation, shard, record)
         );
         INSERT INTO {ours}.generations VALUES (1, {version}, to_regnamespace('{present}'));"
    ))?;
    tx.execute_typed(
        &format!(
            "INSERT INTO {ours}.projection VALUES (true, $1, $2, false, 1, NULL, 1, '-infinity')"
        ),
        &[(&FORM, Type::INT4), (&projection.name, Type::TEXT)],
    )?;
    guard::make(tx, names)?;
    Ok(())
}

/// Takes a share of the lock: until the end of the transaction nobody pauses the view and nobody switches.
pub(super) fn share(tx: &mut Transaction<'_>, names: &Names) -> Result<Ours, WriteError> {
    let sql = format!(
        "SELECT paused, present, beside, held_until > clock_timestamp() FROM {}.projection FOR SHARE",
        names.ours()
    );
    Ok(ours_of(&tx.query_typed_one(&sql, &[])?))
}

/// Takes the whole lock: waits for those who hold a share, and those who come later wait for it.
pub(super) fn lock(tx: &mut Transaction<'_>, names: &Names) -> Result<Ours, WriteError> {
    let table = format!("{}.projection", names.ours());
    // Of the table, whose lock is given in the order of asking: for that of a row alone one may wait for ever while others share it.
    tx.batch_execute(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE"))?;
    let sql = format!(
        "SELECT paused, present, beside, held_until > clock_timestamp() FROM {table} FOR UPDATE"
    );
    Ok(ours_of(&tx.query_typed_one(&sql, &[])?))
}

pub(super) fn ours_of(row: &Row) -> Ours {
    Ours { paused: row.get(0), present: row.get(1), beside: row.get(2), held: row.get(3) }
}

/// The number of the view on this side, if it is there yet.
pub(super) fn number_of(side: Side, ours: &Ours) -> Result<i64, WriteError> {
    match side {
        Side::Present => Ok(ours.present),
        Side::Beside(number) if ours.beside == Some(number) => Ok(number),
        Side::Beside(_) => Err(WriteError::Replaced),
    }
}

/// Which version writes it.
pub(super) fn version_of(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
) -> Result<u32, WriteError> {
    let sql = format!("SELECT version FROM {}.generations WHERE number = $1", names.ours());
    number_at(&tx.query_typed_one(&sql, &[(&number, Type::INT8)])?, 0)
}

/// Tables without a schema are those of this view, and behind them what extensions brought.
pub(super) fn search_in(
    tx: &mut Transaction<'_>,
    names: &Names,
    side: Side,
) -> Result<(), WriteError> {
    let schema = match side {
        Side::Present => names.quoted(),
        Side::Beside(number) => names.numbered(number),
    };
    Ok(tx.batch_execute(&format!("SET LOCAL search_path TO {schema}, public"))?)
}

pub(super) fn positions(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
) -> Result<Position, WriteError> {
    let sql =
        format!("SELECT shard, position FROM {}.positions WHERE generation = $1", names.ours());
    let rows = tx.query_typed(&sql, &[(&number, Type::INT8)])?;
    let place = |row: &Row| Ok((ShardId(number_at(row, 0)?), Offset(number_at(row, 1)?)));
    rows.iter().map(place).collect::<Result<_, WriteError>>().map(Position)
}

pub(super) fn set_aside(
    tx: &mut Transaction<'_>,
    names: &Names,
    side: Side,
) -> Result<Vec<SetAside>, WriteError> {
    if !are_there(tx, names)? {
        return Ok(Vec::new());
    }
    let ours = names.ours();
    let sql = match side {
        Side::Present => format!("SELECT present FROM {ours}.projection"),
        Side::Beside(number) => format!("SELECT {number}::bigint"),
    };
    let number: i64 = tx.query_typed_one(&sql, &[])?.get(0);
    let sql = format!(
        "SELECT shard, record, events, entity, reason, at_ms, outcome FROM {ours}.parked
         WHERE generation = $1 ORDER BY shard, record"
    );
    let rows = tx.query_typed(&sql, &[(&number, Type::INT8)])?;
    let record = |row: &Row| {
        Ok(SetAside {
            shard: ShardId(number_at(row, 0)?),
            offset: Offset(number_at(row, 1)?),
            events: row.get(2),
            entity: row.get(3),
            reason: row.get(4),
            at: Timestamp::from_millis(number_at(row, 5)?),
            parked: row.get::<_, String>(6) == PARKED,
        })
    };
    rows.iter().map(record).collect()
}

/// A number of ours, which is stored as one with a sign.
pub(super) fn number_at<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, WriteError> {
    let number: i64 = taken(row, column)?;
    T::try_from(number).map_err(|_| {
        let reason = format!("{number} stands where no such number can");
        ViewError::Broken { reason }.into()
    })
}

fn taken<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, WriteError> {
    Ok(row.try_get(column)?)
}

/// A number as it is stored.
pub(super) fn stored(number: u64) -> Result<i64, WriteError> {
    i64::try_from(number).map_err(|_| {
        let reason = format!("{number} is more than a column of PostgreSQL holds");
        ViewError::Broken { reason }.into()
    })
}
