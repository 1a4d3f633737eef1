//! A view in a file of SQLite.
//!
//! Given the path `views/balances.db`, the database is `views/balances.db.1` and the path is a link to it, so that any tool that opens the path reads the view.
//! A rebuild writes `views/balances.db.2`; when that one has caught up, the link is replaced in one step. So no reader ever waits for the switch, and a crash
//! leaves either the old link or the new one: what no link names is dropped, or built further, at the next start.
//!
//! The journal is a write-ahead log that is not synced with each transaction: readers never block the writer, and a loss of power can cost the last moments of
//! rows and position alike, which are then read from the log again. `views/balances.db.lock` keeps a second process from writing the same view.

mod generation;
mod guard;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, Transaction};

use self::generation::Generation;
use crate::shelf::{Generation as _, Shelf};
use crate::view::{Change, Identity, SetAside, Stored, View, ViewError, Work, WriteError};

/// A view in a file of SQLite. Clones are the same view. Each of the eight that may read at once has a connection, which takes about 2 MiB at most.
#[derive(Clone)]
pub struct SqliteView {
    shelf: Arc<Shelf<Generation>>,
}

impl SqliteView {
    /// Opens the view at this path, or makes an empty one. It takes some milliseconds of disk.
    ///
    /// # Errors
    /// [`ViewError`] when it cannot be opened, when another process has it, and when the path is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ViewError> {
        Ok(Self { shelf: Arc::new(Shelf::open(path.into())?) })
    }

    /// Reads the view. All that `read` reads is of one moment, it cannot write, and it never waits for the projection; it runs on a thread that may block.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be opened, and what `read` says.
    ///
    /// # Panics
    /// When `read` does.
    ///
    /// # Cancel safety
    /// Safe: reading goes on and its result is dropped.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ViewError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.shelf.read(move |generation| generation.read(read)).await
    }

    /// The path under which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shelf.path()
    }
}

impl View for SqliteView {
    type Transaction<'t> = Transaction<'t>;

    fn adopt(&self, projection: Identity, prepare: Work<'_, Self>) -> Result<Stored, WriteError> {
        let current = self.shelf.current();
        current.transact(|tx, guard| tables::adopt(tx, guard, projection, prepare))
    }

    fn write(&self, change: &Change, work: Work<'_, Self>) -> Result<(), WriteError> {
        self.shelf.current().transact(|tx, guard| tables::write(tx, guard, change, work))
    }

    fn set_paused(&self, paused: bool) -> Result<(), ViewError> {
        let current = self.shelf.current();
        current.change(|tx| tables::set_paused(tx, paused))?;
        current.sync()
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, ViewError> {
        self.shelf.current().read(tables::set_aside)
    }

    fn half_built(&self) -> Result<Option<Self>, ViewError> {
        Ok(self.shelf.half_built().map(|shelf| Self { shelf: Arc::new(shelf) }))
    }

    fn begin_rebuild(&self) -> Result<Self, ViewError> {
        Ok(Self { shelf: Arc::new(self.shelf.begin_rebuild()?) })
    }

    fn switch_to(&self, rebuilt: Self) -> Result<(), ViewError> {
        self.shelf.switch_to(&rebuilt.shelf)
    }
}

impl fmt::Debug for SqliteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteView").field(&self.path()).finish()
    }
}

/// What an error of SQLite means for who wants to try again.
fn view_error(error: &rusqlite::Error) -> ViewError {
    let reason = error.to_string();
    if is_passing(error) { ViewError::Passing { reason } } else { ViewError::Broken { reason } }
}

/// True when the same may go well later: another process holds the lock, the disk is full or does not answer.
fn is_passing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        error.sqlite_error_code(),
        Some(
            Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::DiskFull
                | Code::SystemIoFailure
                | Code::OutOfMemory
                | Code::CannotOpen
        )
    )
}

#[cfg(test)]
mod tests;
