//! Keeps a handler from what would break the transaction that it writes in: ending it, or writing our tables.
//!
//! While a handler runs, a setting of the transaction says so. Triggers on our tables refuse every statement then, and one that waits for the end of the transaction
//! refuses a `COMMIT`. A `ROLLBACK` cannot be refused; what comes behind it writes nothing, because a session of ours only reads unless a transaction says otherwise,
//! and the setting is gone, which is noticed. Who makes transactions of his own behind that, against all of this, is not held back.

use postgres::{Error, Transaction};

use super::errors::trouble_of;
use super::names::Names;
use crate::projection::HandlerError;
use crate::view::WriteError;

/// What refuses, made with our tables.
pub(super) fn make(tx: &mut Transaction<'_>, names: &Names) -> Result<(), Error> {
    let ours = names.ours();
    tx.batch_execute(&format!(
        "CREATE FUNCTION {ours}.refuse_handlers() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF current_setting('holm.handler', true) = 'on' THEN
                 RAISE EXCEPTION 'a handler neither ends its transaction nor writes the tables of Holm'
                     USING ERRCODE = 'insufficient_privilege';
             END IF;
             RETURN NULL;
         END $$;"
    ))?;
    for table in ["projection", "generations", "positions", "parked"] {
        tx.batch_execute(&format!(
            "CREATE TRIGGER not_by_handlers BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {ours}.{table}
                 FOR EACH STATEMENT EXECUTE FUNCTION {ours}.refuse_handlers();"
        ))?;
    }
    // Each transaction of a handler moves a place or takes up a record.
    for table in ["positions", "parked"] {
        tx.batch_execute(&format!(
            "CREATE CONSTRAINT TRIGGER not_ended_by_handlers AFTER INSERT OR UPDATE OR DELETE ON {ours}.{table}
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {ours}.refuse_handlers();"
        ))?;
    }
    Ok(())
}

/// Runs what is not ours. Trouble of the server is none of the handler's, whatever statement met it.
pub(super) fn around(
    tx: &mut Transaction<'_>,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<(), HandlerError>,
) -> Result<(), WriteError> {
    tx.batch_execute("SET LOCAL holm.handler = 'on'")?;
    work(tx).map_err(|error| match trouble_of(&error) {
        Some(trouble) => WriteError::View(trouble),
        None => WriteError::Handler(error),
    })?;
    let on = "SELECT current_setting('holm.handler', true) = 'on'";
    match tx.query_typed_one(on, &[]) {
        Ok(row) if row.get::<_, Option<bool>>(0) == Some(true) => {}
        Ok(_) => {
            return Err(WriteError::Handler("the transaction ended before the handler did".into()));
        }
        Err(error) if error.code().is_some_and(|code| code.code() == "25P02") => {
            let reason = "a statement failed, and the handler went on as if it had not";
            return Err(WriteError::Handler(reason.into()));
        }
        Err(error) => return Err(error.into()),
    }
    tx.batch_execute("SET LOCAL holm.handler = 'off'")?;
    Ok(())
}
