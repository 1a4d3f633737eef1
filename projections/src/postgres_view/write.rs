//! One change, with the work of its handler: the places are checked and moved first, so that whoever comes second waits for the first and finds its place.

use holm_core::{Offset, ShardId};
use postgres::Transaction;
use postgres::types::Type;

use super::names::Names;
use super::tables::{PARKED, SKIPPED, number_at, number_of, search_in, share, stored, version_of};
use super::{PostgresView, Side, guard};
use crate::view::{Change, SET_ASIDE, SetAside, ViewError, Work, WriteError};

pub(super) fn write(
    tx: &mut Transaction<'_>,
    names: &Names,
    side: Side,
    version: Option<u32>,
    change: &Change,
    work: Work<'_, PostgresView>,
) -> Result<(), WriteError> {
    let ours = share(tx, names)?;
    let number = number_of(side, &ours)?;
    check_version(tx, names, number, version)?;
    if !change.moves.is_empty() {
        if ours.paused {
            return Err(WriteError::Paused);
        }
        if ours.held && side == Side::Present {
            let reason = "a rebuilt view is about to take its place".to_owned();
            return Err(ViewError::Passing { reason }.into());
        }
        move_places(tx, names, number, &change.moves)?;
    }
    put_aside(tx, names, number, change)?;
    search_in(tx, names, side)?;
    guard::around(tx, |tx| work(tx))
}

/// A switch may have brought a view of another version, for whose tables this handler is none.
fn check_version(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
    version: Option<u32>,
) -> Result<(), WriteError> {
    let wrote = version_of(tx, names, number)?;
    if version == Some(wrote) { Ok(()) } else { Err(WriteError::Replaced) }
}

/// Locks the rows of these places, compares them with what is expected, and moves them.
fn move_places(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
    moves: &[(ShardId, Offset, Offset)],
) -> Result<(), WriteError> {
    let table = format!("{}.positions", names.ours());
    let shards: Vec<i64> = moves.iter().map(|(shard, ..)| i64::from(shard.0)).collect();
    let new = moves.iter().filter(|(_, from, _)| *from == Offset::ZERO);
    let new: Vec<i64> = new.map(|(shard, ..)| i64::from(shard.0)).collect();
    if !new.is_empty() {
        // Of two who begin a shard the second waits here.
        tx.execute_typed(
            &format!("INSERT INTO {table} SELECT $1, shard, 0 FROM unnest($2) AS shard ON CONFLICT DO NOTHING"),
            &[(&number, Type::INT8), (&new, Type::INT8_ARRAY)],
        )?;
    }
    // In one order, so that two who move the same places do not wait for each other.
    let sql = format!(
        "SELECT shard, position FROM {table} WHERE generation = $1 AND shard = ANY($2) ORDER BY shard FOR UPDATE"
    );
    let rows = tx.query_typed(&sql, &[(&number, Type::INT8), (&shards, Type::INT8_ARRAY)])?;
    let mut found = std::collections::BTreeMap::new();
    for row in &rows {
        found.insert(ShardId(number_at(row, 0)?), Offset(number_at(row, 1)?));
    }
    for (shard, expected, _) in moves {
        let (shard, expected) = (*shard, *expected);
        let found = found.get(&shard).copied().unwrap_or_default();
        if found != expected {
            return Err(WriteError::Fenced { shard, expected, found });
        }
    }
    let to = moves.iter().map(|(_, _, to)| stored(to.0)).collect::<Result<Vec<_>, _>>()?;
    tx.execute_typed(
        &format!(
            "UPDATE {table} SET position = moved.place FROM unnest($2, $3) AS moved (shard, place)
             WHERE generation = $1 AND positions.shard = moved.shard"
        ),
        &[(&number, Type::INT8), (&shards, Type::INT8_ARRAY), (&to, Type::INT8_ARRAY)],
    )?;
    Ok(())
}

fn put_aside(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
    change: &Change,
) -> Result<(), WriteError> {
    let table = format!("{}.parked", names.ours());
    if let Some((shard, offset)) = change.taken_up {
        let (shard, record) = (i64::from(shard.0), stored(offset.0)?);
        let taken = tx.execute_typed(
            &format!("DELETE FROM {table} WHERE generation = $1 AND shard = $2 AND record = $3 AND outcome = '{PARKED}'"),
            &[(&number, Type::INT8), (&shard, Type::INT8), (&record, Type::INT8)],
        )?;
        if taken != 1 {
            let reason = format!("offset {offset} of shard {shard} is not parked any more");
            return Err(ViewError::Broken { reason }.into());
        }
    }
    for aside in &change.set_aside {
        insert(tx, &table, number, aside)?;
    }
    if change.set_aside.is_empty() {
        return Ok(());
    }
    let sql = format!("SELECT count(*) FROM {table} WHERE generation = $1");
    let kept: usize = number_at(&tx.query_typed_one(&sql, &[(&number, Type::INT8)])?, 0)?;
    if kept > SET_ASIDE {
        return Err(ViewError::TooManySetAside { limit: SET_ASIDE }.into());
    }
    Ok(())
}

fn insert(
    tx: &mut Transaction<'_>,
    table: &str,
    number: i64,
    aside: &SetAside,
) -> Result<(), WriteError> {
    // A text of PostgreSQL holds no zero byte.
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    let (shard, record) = (i64::from(aside.shard.0), stored(aside.offset.0)?);
    let (events, entity, reason) = (text(&aside.events), text(&aside.entity), text(&aside.reason));
    let (at, outcome) =
        (stored(aside.at.as_millis())?, if aside.parked { PARKED } else { SKIPPED });
    tx.execute_typed(
        &format!("INSERT INTO {table} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"),
        &[
            (&number, Type::INT8),
            (&shard, Type::INT8),
            (&record, Type::INT8),
            (&events, Type::TEXT),
            (&entity, Type::TEXT),
            (&reason, Type::TEXT),
            (&at, Type::INT8),
            (&outcome, Type::TEXT),
        ],
    )?;
    Ok(())
}
