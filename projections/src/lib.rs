//! The read side: views that are kept up to date behind the writers and see every event exactly once.
//!
//! A [`Projection`] is a handler of facts that writes into a [`View`], and the place up to which it has read is written with what it writes, in one
//! transaction (promise G8, law O1). So a crash at any moment leaves a view that is whole and a little old, never one that counted an event twice or left one
//! out. The unit is the record: the events of one command are seen together or not at all.
//!
//! - [`SqliteView`] is a view in a file of SQLite, which any tool can read. [`SledView`] is one of keys and values in sled: no SQL, and no C.
//! - [`start`] runs a projection on any node and on a client of a cluster: it needs a [`holm_runtime::bus::Bus`] and nothing else. Every process that runs one
//!   has the complete view for itself.
//! - `PostgresView` is a view in PostgreSQL, with the feature `postgres`. [`spread`] runs a projection whose view all members write together: each works on its share of
//!   the shards, exactly once, and the others take over when one dies.
//! - [`Shared`] is for everything else: its handler is any async function, at least once, and those who run it share the shards.
//! - [`ProjectionHandle`] pauses, resumes, rebuilds, tells how far it is, and waits until it has passed a command of one's own.
//! - [`OnFailure`] says what becomes of a record that its handler cannot handle.
//!
//! What is deliberately not here: a view that is copied from node to node. One in files is near its readers, and is as cheap to lose as it is to build again; one that all
//! share is kept by a database that is made for that.

mod failure;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing {
    //! The door of the fuzz target into this crate. Compiled for tests and for fuzzing only.
    pub use crate::sled_view::fuzzing::{view_rows, view_rows_seeds};
}
mod handle;
mod observer;
mod options;
mod place;
#[cfg(feature = "postgres")]
mod postgres_view;
mod progress;
mod projection;
mod rate;
mod shared;
mod shelf;
mod sled_view;
mod spread;
mod sqlite;
mod status;
mod view;
mod worker;

pub use failure::{OnFailure, Then};
pub use handle::{NotPassed, OrderError, ProjectionHandle};
pub use observer::{Notice, Observer};
pub use options::Options;
#[cfg(feature = "postgres")]
pub use postgres_view::PostgresView;
pub use progress::{Progress, RebuildProgress};
pub use projection::{HandlerError, Projection};
pub use shared::Shared;
pub use sled_view::{RowError, SledRow, SledRows, SledTransaction, SledView};
pub use spread::{Generation, Look, SpreadView, assemble_spread, spread};
pub use sqlite::SqliteView;
pub use status::{State, Status};
pub use view::{Change, Identity, SetAside, Stored, View, ViewError, Work, WriteError};
pub use worker::{assemble, start};

/// The database that [`SqliteView`] hands to its handlers and readers.
pub use rusqlite;

/// The client of the database that [`PostgresView`] hands to its handlers and readers.
#[cfg(feature = "postgres")]
pub use ::postgres;
