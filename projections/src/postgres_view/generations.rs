//! The present view, the one that grows beside it, and the change from one to the other. All of it holds the whole lock, so nobody writes meanwhile.

use postgres::Transaction;
use postgres::types::Type;

use super::database::Database;
use super::names::Names;
use super::tables::{are_there, lock, number_at};
use crate::view::{ViewError, WriteError};

/// How far a rebuilt view may be behind the present one, in records of all shards, when those who write to the present one are made to wait for it. A member handles
/// some thousand a second.
const NEAR: i64 = 5_000;

/// How long they wait at most, and how long they are left alone before they are made to wait again.
const HELD: &str = "10 seconds";
const LEFT_ALONE: &str = "20 seconds";

pub(super) fn set_paused(
    tx: &mut Transaction<'_>,
    names: &Names,
    paused: bool,
) -> Result<(), WriteError> {
    lock(tx, names)?;
    let sql = format!("UPDATE {}.projection SET paused = $1", names.ours());
    tx.execute_typed(&sql, &[(&paused, Type::BOOL)])?;
    Ok(())
}

/// The number of the one that grows beside.
pub(super) fn beside(tx: &mut Transaction<'_>, names: &Names) -> Result<Option<i64>, WriteError> {
    if !are_there(tx, names)? {
        return Ok(None);
    }
    let sql = format!("SELECT beside FROM {}.projection", names.ours());
    Ok(tx.query_typed_one(&sql, &[])?.get(0))
}

/// Begins one for who writes this version, and drops the one that was begun before.
pub(super) fn begin(
    tx: &mut Transaction<'_>,
    names: &Names,
    version: u32,
) -> Result<i64, WriteError> {
    let dropped = lock(tx, names)?.beside;
    if let Some(number) = dropped {
        drop_one(tx, names, number)?;
    }
    let ours = names.ours();
    let sql = format!(
        "UPDATE {ours}.projection SET highest = highest + 1, beside = highest + 1 RETURNING beside"
    );
    let number: i64 = tx.query_typed_one(&sql, &[])?.get(0);
    let schema = names.numbered(number);
    tx.batch_execute(&format!(
        "CREATE SCHEMA {schema};
         INSERT INTO {ours}.generations VALUES ({number}, {version}, to_regnamespace('{schema}'))"
    ))?;
    Ok(number)
}

/// The one of this version, begun if there is none; none where one of a newer version grows.
pub(super) fn begin_once(
    tx: &mut Transaction<'_>,
    names: &Names,
    version: u32,
) -> Result<Option<i64>, WriteError> {
    if let Some(number) = lock(tx, names)?.beside {
        let sql = format!("SELECT version FROM {}.generations WHERE number = $1", names.ours());
        let builds: u32 = number_at(&tx.query_typed_one(&sql, &[(&number, Type::INT8)])?, 0)?;
        if builds == version {
            return Ok(Some(number));
        }
        if builds > version {
            return Ok(None);
        }
    }
    begin(tx, names, version).map(Some)
}

/// Makes those who write to the present view wait, when this one is near it. True when they wait.
pub(super) fn hold_for(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
) -> Result<bool, WriteError> {
    let ours = lock(tx, names)?;
    if ours.beside != Some(number) || ours.paused {
        return Ok(false);
    }
    if ours.held {
        return Ok(true);
    }
    if behind(tx, names, ours.present, number)? > NEAR {
        return Ok(false);
    }
    let sql = format!(
        "UPDATE {}.projection SET held_until = clock_timestamp() + interval '{HELD}'
         WHERE held_until < clock_timestamp() - interval '{LEFT_ALONE}'",
        names.ours()
    );
    Ok(tx.execute_typed(&sql, &[])? == 1)
}

/// How many records it is behind.
fn behind(
    tx: &mut Transaction<'_>,
    names: &Names,
    present: i64,
    number: i64,
) -> Result<i64, WriteError> {
    let table = format!("{}.positions", names.ours());
    let sql = format!(
        "SELECT coalesce(sum(greatest(present.position - coalesce(beside.position, 0), 0)), 0)::bigint
         FROM {table} present LEFT JOIN {table} beside ON beside.shard = present.shard AND beside.generation = $2
         WHERE present.generation = $1"
    );
    Ok(tx.query_typed_one(&sql, &[(&present, Type::INT8), (&number, Type::INT8)])?.get(0))
}

/// Puts it into the place of the present one, unless it is behind it in any shard: what a reader was told to be in the view is in the view.
pub(super) fn switch(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
) -> Result<(), WriteError> {
    let ours = lock(tx, names)?;
    if ours.present == number {
        return Ok(());
    }
    if ours.beside != Some(number) {
        return Err(WriteError::Replaced);
    }
    if ours.paused {
        return Err(WriteError::Paused);
    }
    let behind = behind(tx, names, ours.present, number)?;
    if behind > 0 {
        let reason = format!("the rebuilt view is {behind} records behind the present one");
        return Err(ViewError::Passing { reason }.into());
    }
    let (schema, old, new) = (names.quoted(), names.numbered(ours.present), names.numbered(number));
    tx.batch_execute(&format!(
        "ALTER SCHEMA {schema} RENAME TO {old};
         ALTER SCHEMA {new} RENAME TO {schema};
         UPDATE {}.projection SET present = {number}, beside = NULL, held_until = '-infinity'",
        names.ours()
    ))?;
    Ok(())
}

/// Drops what is neither. Somebody may still be reading an old view: then it stays until the next time, which is when a member starts or goes on after a pause.
pub(super) fn drop_old(database: &Database) {
    let names = &database.names;
    let dropped = database.change(|tx| {
        if !are_there(tx, names)? {
            return Ok(());
        }
        tx.batch_execute("SET LOCAL lock_timeout = 1000")?;
        let ours = names.ours();
        let old = format!(
            "SELECT number FROM {ours}.generations, {ours}.projection
             WHERE number <> present AND number IS DISTINCT FROM beside"
        );
        for row in tx.query_typed(&old, &[])? {
            drop_one(tx, names, row.get(0))?;
        }
        Ok(())
    });
    if let Err(error) = dropped {
        tracing::debug!(view = names.present(), %error, "an old view stays for now");
    }
}

fn drop_one(tx: &mut Transaction<'_>, names: &Names, number: i64) -> Result<(), WriteError> {
    let (schema, ours) = (names.numbered(number), names.ours());
    tx.batch_execute(&format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE;
         DELETE FROM {ours}.positions WHERE generation = {number};
         DELETE FROM {ours}.parked WHERE generation = {number};
         DELETE FROM {ours}.generations WHERE number = {number}"
    ))?;
    Ok(())
}
