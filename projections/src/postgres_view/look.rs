//! What everybody who writes to a view must know, read in one moment.

use holm_runtime::bus::Position;
use postgres::Transaction;
use postgres::types::Type;

use super::names::Names;
use super::tables::{are_there, number_at, positions};
use crate::spread::{Generation, Look};
use crate::view::WriteError;

pub(super) fn look(tx: &mut Transaction<'_>, names: &Names) -> Result<Look, WriteError> {
    if !are_there(tx, names)? {
        return Ok(Look::default());
    }
    let sql = format!("SELECT paused, present, beside FROM {}.projection", names.ours());
    let row = tx.query_typed_one(&sql, &[])?;
    let present = generation(tx, names, row.get(1))?;
    let beside = match row.get::<_, Option<i64>>(2) {
        Some(number) => Some(generation(tx, names, number)?),
        None => None,
    };
    Ok(Look { paused: row.get(0), present, beside })
}

fn generation(
    tx: &mut Transaction<'_>,
    names: &Names,
    number: i64,
) -> Result<Generation, WriteError> {
    let sql = format!("SELECT number, version FROM {}.generations WHERE number = $1", names.ours());
    let row = tx.query_typed_one(&sql, &[(&number, Type::INT8)])?;
    let version = match row.get::<_, Option<i64>>(1) {
        Some(_) => Some(number_at(&row, 1)?),
        None => None,
    };
    let position: Position = positions(tx, names, number)?;
    Ok(Generation { number: number_at(&row, 0)?, version, position })
}
