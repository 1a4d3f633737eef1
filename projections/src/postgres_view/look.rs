//! What everybody who writes to a view must know, read in one moment.

use postgres::Transaction;

use super::names::Names;
use super::tables::{are_there, positions, version_of};
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
    let version = version_of(tx, names, number)?;
    let position = positions(tx, names, number)?;
    let number = u64::try_from(number).unwrap_or_default();
    Ok(Generation { number, version, position })
}
