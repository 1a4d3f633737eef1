//! Reading a view of one moment, although another may take its place in the middle.
//!
//! Rows are seen as of the moment in which the transaction began, but names are looked up anew by each statement. So the schema's own number is compared with that of
//! the present view, at the beginning and at the end: when both are the same, all names in between led into that view.

use std::sync::Arc;

use postgres::types::Type;
use postgres::{Client, Error, IsolationLevel, Transaction};

use super::Side;
use super::database::Database;
use super::errors::{is_passing, view_error};
use super::names::Names;
use super::tables::{are_there, search_in};
use crate::view::{ViewError, WriteError};

/// How often a view is read that another takes the place of meanwhile, or whose connection was lost before.
const TRIES: usize = 5;

/// One try.
enum Outcome<T> {
    Read(T),
    Said(Error),
    /// Another view came in between.
    Again,
}

pub(super) async fn read<T, F>(database: &Arc<Database>, mut read: F) -> Result<T, ViewError>
where
    T: Send + 'static,
    F: FnMut(&mut Transaction<'_>) -> Result<T, Error> + Send + 'static,
{
    let closed = |_| ViewError::Broken { reason: "its readers are closed".to_owned() };
    let permit = Arc::clone(&database.readers).acquire_owned().await.map_err(closed)?;
    let database = Arc::clone(database);
    let work = tokio::task::spawn_blocking(move || {
        let result = try_often(&database, &mut read);
        drop(permit);
        result
    });
    work.await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Err(ViewError::Passing { reason: error.to_string() }),
    })
}

fn try_often<T>(
    database: &Database,
    read: &mut impl FnMut(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<T, ViewError> {
    let mut lost = None;
    for _ in 0..TRIES {
        match database.with(|client| once(client, &database.names, read)) {
            Ok(Outcome::Read(result)) => return Ok(result),
            // A connection that was kept may have ended long ago, and the next one is new.
            Ok(Outcome::Said(error)) if error.is_closed() => lost = Some(view_error(&error)),
            Ok(Outcome::Said(error)) => return Err(view_error(&error)),
            Ok(Outcome::Again) => {}
            Err(WriteError::View(error)) if error.is_passing() && lost.is_none() => {
                lost = Some(error);
            }
            Err(WriteError::View(error)) => return Err(error),
            Err(error) => return Err(ViewError::Broken { reason: error.to_string() }),
        }
    }
    let reason = format!("another view took its place {TRIES} times while it was read");
    Err(lost.unwrap_or(ViewError::Passing { reason }))
}

fn once<T>(
    client: &mut Client,
    names: &Names,
    read: &mut impl FnMut(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<Outcome<T>, WriteError> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let mut tx = begun.read_only(true).start()?;
    if !are_there(&mut tx, names)? {
        let reason = format!("no projection has written schema {} yet", names.quoted());
        return Err(ViewError::Passing { reason }.into());
    }
    let Some(schema) = present(&mut tx, names)? else { return Ok(Outcome::Again) };
    search_in(&mut tx, names, Side::Present)?;
    match read(&mut tx) {
        Ok(result) if present(&mut tx, names)? == Some(schema) => Ok(Outcome::Read(result)),
        Ok(_) => Ok(Outcome::Again),
        Err(error) if is_passing(&error) => Ok(Outcome::Said(error)),
        Err(error) => {
            drop(tx);
            // What it met may be a table of the view that came in between.
            let now = "SELECT to_regnamespace($1)::oid";
            let now = client.query_typed_one(now, &[(&names.quoted(), Type::TEXT)])?;
            let is_same = now.get::<_, Option<u32>>(0) == Some(schema);
            Ok(if is_same { Outcome::Said(error) } else { Outcome::Again })
        }
    }
}

/// The schema that is looked up now, when it is that of the view that is present in this transaction.
fn present(tx: &mut Transaction<'_>, names: &Names) -> Result<Option<u32>, WriteError> {
    let ours = names.ours();
    let sql = format!(
        "SELECT schema FROM {ours}.projection JOIN {ours}.generations ON number = present
         WHERE schema = to_regnamespace($1)::oid"
    );
    let row = tx.query_typed_opt(&sql, &[(&names.quoted(), Type::TEXT)])?;
    Ok(row.map(|row| row.get(0)))
}
