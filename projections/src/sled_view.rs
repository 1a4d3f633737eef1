//! A view in sled: keys and values, in this process, without SQL and without C.
//!
//! Everything of a view is in one tree: the rows of the handler behind one first byte, the position and our own notes behind another. A transaction is a batch on
//! that tree, which sled applies whole or not at all (over several trees it does not). So rows and position go together here too (promise G8, law O1).
//!
//! Given the path `views/balances`, the database is the folder `views/balances.1` and the path is a link to it; a rebuild fills `views/balances.2`, and the switch
//! replaces the link. What was written is synced every half second of writing, when it is paused and before a switch: a crash may cost the transactions since
//! then, rows and position alike, which are read from the log again.

mod generation;
mod overlay;
#[cfg(any(test, fuzzing))]
pub(crate) use tables::fuzzing;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::generation::SledRows;
pub use self::overlay::{Row as SledRow, RowError, SledTransaction};

use self::generation::Generation;
use crate::shelf::{Generation as _, Shelf};
use crate::view::{Change, Identity, SetAside, Stored, View, ViewError, Work, WriteError};

/// A view in sled. Clones are the same view.
///
/// ```
/// use holm_projections::{HandlerError, Projection, SledTransaction, SledView};
/// use holm_runtime::bus::{Fact, Interest};
///
/// struct EventsByEntity;
///
/// impl Projection<SledView> for EventsByEntity {
///     const NAME: &'static str = "events_by_entity";
///
///     fn interest(&self) -> Interest {
///         Interest::everything()
///     }
///
///     fn handle(&self, tx: &mut SledTransaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
///         for fact in facts {
///             let entity = fact.address().to_string();
///             let before = tx.get(&entity)?.map_or(0, |bytes| number(&bytes));
///             tx.insert(&entity, &(before + 1).to_be_bytes())?;
///         }
///         Ok(())
///     }
/// }
///
/// fn number(bytes: &[u8]) -> u64 {
///     bytes.try_into().map_or(0, u64::from_be_bytes)
/// }
/// # let dir = tempfile::tempdir().unwrap();
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// // Started as any other: `holm_projections::start(bus, EventsByEntity, view.clone(), options)`.
/// let view = SledView::open(dir.path().join("events"))?;
/// let alice = view.read(|rows| rows.get("account/alice")).await?;
/// assert_eq!(alice.map(|bytes| number(&bytes)), None);
/// # Ok::<(), holm_projections::ViewError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct SledView {
    shelf: Arc<Shelf<Generation>>,
}

impl SledView {
    /// Opens the view at this path, or makes an empty one. It takes some milliseconds of disk.
    ///
    /// # Errors
    /// [`ViewError`] when it cannot be opened, when another process has it, and when the path is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ViewError> {
        Ok(Self { shelf: Arc::new(Shelf::open(path.into())?) })
    }

    /// Reads the view. All that `read` reads is of one moment, because transactions wait until it ends: a long read holds the view up. It runs on a thread that
    /// may block; at most eight read at once.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read, and what `read` says.
    ///
    /// # Panics
    /// When `read` does.
    ///
    /// # Cancel safety
    /// Safe: reading goes on and its result is dropped.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ViewError>
    where
        T: Send + 'static,
        F: FnOnce(&SledRows<'_>) -> Result<T, RowError> + Send + 'static,
    {
        self.shelf.read(move |generation| generation.read(read)).await
    }

    /// The path under which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shelf.path()
    }
}

impl View for SledView {
    type Transaction<'t> = SledTransaction<'t>;

    fn adopt(&self, projection: Identity, prepare: Work<'_, Self>) -> Result<Stored, WriteError> {
        self.shelf.current().transact(|tx| tables::adopt(tx, projection, prepare))
    }

    fn write(&self, change: &Change, work: Work<'_, Self>) -> Result<(), WriteError> {
        self.shelf.current().transact(|tx| tables::write(tx, change, work))
    }

    fn set_paused(&self, paused: bool) -> Result<(), ViewError> {
        let current = self.shelf.current();
        let set = current.transact(|tx| Ok(tables::set_paused(tx, paused)?));
        set.map_err(|error| match error {
            WriteError::View(error) => error,
            other => ViewError::Broken { reason: other.to_string() },
        })?;
        current.sync()
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, ViewError> {
        self.shelf.current().look(tables::set_aside)
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

impl fmt::Debug for SledView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SledView").field(&self.path()).finish()
    }
}

#[cfg(test)]
mod tests;
