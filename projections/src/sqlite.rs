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
mod place;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

use self::generation::Generation;
use self::place::Place;
use crate::view::{Change, Identity, SetAside, Stored, View, ViewError, Work, WriteError};

/// Reads of one view at once; more wait. Each has a connection, which takes about 2 MiB at most.
const READERS: usize = 8;

/// A view in a file of SQLite. Clones are the same view.
#[derive(Clone)]
pub struct SqliteView {
    shared: Arc<Shared>,
}

struct Shared {
    place: Arc<Place>,
    current: RwLock<Arc<Generation>>,
    /// What grows beside the current generation.
    half_built: Mutex<Option<Arc<Generation>>>,
    readers: Arc<Semaphore>,
}

impl SqliteView {
    /// Opens the view at this path, or makes an empty one. It takes some milliseconds of disk.
    ///
    /// # Errors
    /// [`ViewError`] when it cannot be opened, when another process has it, and when the path is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ViewError> {
        let place = Arc::new(Place::take(path.into())?);
        let (current, half_built) = place.generations()?;
        let fresh = current.is_none();
        let number = current.unwrap_or(1);
        let generation = Generation::open(place.file_of(number), number)?;
        if fresh {
            place.point_to(number)?;
        }
        // One that was half built and does not open is worth nothing: its number stays unused, and the next start removes it.
        let half_built = half_built
            .and_then(|number| Generation::open(place.file_of(number), number).ok())
            .map(Arc::new);
        Ok(Self::of(place, Arc::new(generation), half_built))
    }

    fn of(
        place: Arc<Place>,
        current: Arc<Generation>,
        half_built: Option<Arc<Generation>>,
    ) -> Self {
        let shared = Shared {
            place,
            current: RwLock::new(current),
            half_built: Mutex::new(half_built),
            readers: Arc::new(Semaphore::new(READERS)),
        };
        Self { shared: Arc::new(shared) }
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
        let closed = |_| ViewError::Broken { reason: "its readers are closed".to_owned() };
        let permit = Arc::clone(&self.shared.readers).acquire_owned().await.map_err(closed)?;
        let generation = self.current();
        let work = tokio::task::spawn_blocking(move || {
            let result = generation.read(read);
            drop(permit);
            result
        });
        work.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ViewError::Passing { reason: error.to_string() }),
        })
    }

    /// The path under which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.place.path()
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.shared.current.read())
    }
}

impl View for SqliteView {
    type Transaction<'t> = Transaction<'t>;

    fn adopt(&self, projection: Identity, prepare: Work<'_, Self>) -> Result<Stored, WriteError> {
        self.current().transact(|tx, guard| tables::adopt(tx, guard, projection, prepare))
    }

    fn write(&self, change: &Change, work: Work<'_, Self>) -> Result<(), WriteError> {
        self.current().transact(|tx, guard| tables::write(tx, guard, change, work))
    }

    fn set_paused(&self, paused: bool) -> Result<(), ViewError> {
        let current = self.current();
        current.change(|tx| tables::set_paused(tx, paused))?;
        current.sync()
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, ViewError> {
        self.current().read(tables::set_aside)
    }

    fn half_built(&self) -> Result<Option<Self>, ViewError> {
        let half_built = self.shared.half_built.lock().clone();
        Ok(half_built.map(|half| Self::of(Arc::clone(&self.shared.place), half, None)))
    }

    fn begin_rebuild(&self) -> Result<Self, ViewError> {
        let mut half_built = self.shared.half_built.lock();
        if let Some(dropped) = half_built.take() {
            dropped.retire();
        }
        let number = self.shared.place.next_number();
        let fresh = Arc::new(Generation::open(self.shared.place.file_of(number), number)?);
        *half_built = Some(Arc::clone(&fresh));
        Ok(Self::of(Arc::clone(&self.shared.place), fresh, None))
    }

    fn switch_to(&self, rebuilt: Self) -> Result<(), ViewError> {
        let rebuilt = rebuilt.current();
        rebuilt.sync()?;
        let mut current = self.shared.current.write();
        self.shared.place.point_to(rebuilt.number())?;
        *self.shared.half_built.lock() = None;
        std::mem::replace(&mut *current, rebuilt).retire();
        Ok(())
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
