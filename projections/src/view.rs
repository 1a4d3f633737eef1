//! What a store must do to carry a view: write what a handler does and the position behind it together, and let a second view grow beside the first.

use holm_core::{Offset, ShardId};
use holm_runtime::bus::Position;

pub use holm_runtime::bus::SetAside;

use crate::projection::HandlerError;

/// Records that a view keeps as set aside. More than that means that the handler is wrong, not a record.
pub(crate) const SET_ASIDE: usize = 10_000;

/// What a transaction is to do, and do again when it is tried again.
pub type Work<'w, V> =
    &'w mut dyn for<'t> FnMut(&mut <V as View>::Transaction<'t>) -> Result<(), HandlerError>;

/// A place where a projection keeps what it knows. Cloning is cheap and means the same view.
///
/// All of it may block and is called where that is allowed. Calls on one view from several threads take turns.
pub trait View: Clone + Send + Sync + 'static {
    /// What a handler writes through.
    type Transaction<'t>;

    /// Makes it the view of this projection and says what it holds. `prepare` runs in the same transaction, but not when what is stored is of another version.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    fn adopt(&self, projection: Identity, prepare: Work<'_, Self>) -> Result<Stored, WriteError>;

    /// Does the work and the change in one transaction: all of both, or nothing.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    fn write(&self, change: &Change, work: Work<'_, Self>) -> Result<(), WriteError>;

    /// Stores whether it is paused, so that this survives a loss of power.
    ///
    /// # Errors
    /// [`ViewError`].
    fn set_paused(&self, paused: bool) -> Result<(), ViewError>;

    /// The records that were set aside, in the order of shards and offsets.
    ///
    /// # Errors
    /// [`ViewError`].
    fn set_aside(&self) -> Result<Vec<SetAside>, ViewError>;

    /// The view that grows beside this one, when a rebuild was begun and not ended.
    ///
    /// # Errors
    /// [`ViewError`].
    fn half_built(&self) -> Result<Option<Self>, ViewError>;

    /// Begins a view beside this one, empty. One that was half built is dropped.
    ///
    /// # Errors
    /// [`ViewError`].
    fn begin_rebuild(&self) -> Result<Self, ViewError>;

    /// Puts the rebuilt view into the place of this one, at once and for good: after a crash it is one of the two. Readers go on with what they have and see the
    /// new view with their next read.
    ///
    /// # Errors
    /// [`ViewError`]; this view stays what it was.
    fn switch_to(&self, rebuilt: Self) -> Result<(), ViewError>;
}

/// Which projection, and which version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: &'static str,
    /// The version of what it writes.
    pub version: u32,
}

/// What a view holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The version that wrote it.
    pub version: u32,
    /// Up to where it has read.
    pub position: Position,
    /// Whether it was told to pause.
    pub paused: bool,
}

/// What moves with the work of a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Shard, the place that must be stored now, and the place that will be. When another is stored, somebody else wrote: [`WriteError::Fenced`].
    pub moves: Vec<(ShardId, Offset, Offset)>,
    /// Records that are left out of the view with it.
    pub set_aside: Vec<SetAside>,
    /// A record that was set aside and is handled now; it must be there.
    pub taken_up: Option<(ShardId, Offset)>,
}

/// Why a transaction was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The handler could not do its part.
    #[error("the handler failed: {0}")]
    Handler(HandlerError),
    /// The stored position is not the one expected: another process writes to the same view. What it wrote counts.
    #[error(
        "shard {shard} stands at {found}, not at {expected}: somebody else writes to this view"
    )]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// What was expected.
        expected: Offset,
        /// What is there.
        found: Offset,
    },
    /// Somebody paused the view, and with it everybody who writes to it.
    #[error("the view is paused")]
    Paused,
    /// What it was to be written to is not there any more: another view, or one of another version, took its place. What is stored counts.
    #[error("another view took the place of this one")]
    Replaced,
    /// The store could not do its part.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Why a view cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The store does not do it now, and may do it later: it is busy, or its disk is full.
    #[error("the view cannot be used now: {reason}")]
    Passing {
        /// What was said.
        reason: String,
    },
    /// The store does not do it, now or later.
    #[error("the view cannot be used: {reason}")]
    Broken {
        /// What was said.
        reason: String,
    },
    /// It is the view of another projection.
    #[error("it is the view of projection `{holds}`, not of `{wanted}`")]
    OfAnother {
        /// Whose it is.
        holds: String,
        /// Who asked.
        wanted: &'static str,
    },
    /// More was set aside than is kept: something is wrong with the handler, not with a record.
    #[error("{limit} records were set aside, and no more are")]
    TooManySetAside {
        /// The limit.
        limit: usize,
    },
}

impl ViewError {
    /// True when trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Passing { .. })
    }
}
