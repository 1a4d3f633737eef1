//! A view in PostgreSQL, which all members of a cluster write together ([`crate::spread`]), or one process alone ([`crate::start`]).
//!
//! Given the schema `balances`, the tables that handlers make stand in `balances`, and any tool reads them there. What is ours stands in `balances_holm`: whose view
//! it is, how far it is, whether it is paused, what was set aside. A rebuild fills the schema `balances_2`; when that one has caught up, the two are renamed and the
//! pointer to the present one is moved in one transaction, so that everybody sees the old view or the new one. `balances_1` is dropped then.
//!
//! Who writes holds a share of a lock on the row that says which view is the present one, and the rows of the positions that it moves. So two who work on one shard
//! cannot come between each other, whatever each believes: the second finds a place that it did not expect, and what its handler did is undone. A pause and a switch
//! wait for the transactions that are under way, and hold for all that come after.
//!
//! Nothing is connected before it is needed, and every wait has an end: a connection 5 s, a lock 5 s, a statement 30 s, the pause between two statements of a
//! transaction 10 s, a network that takes nothing any more 15 s. What may go well later is tried again ([`ViewError::Passing`]). A server that its machine answers for
//! but that does not run, as one that a debugger holds, is waited for.

mod database;
mod errors;
mod generations;
mod guard;
mod look;
mod names;
mod read;
mod tables;
mod write;

use std::fmt;
use std::sync::Arc;

use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::{Config, NoTls, Socket, Transaction};

use self::database::Database;
use crate::spread::{Look, SpreadView};
use crate::view::{Change, Identity, SetAside, Stored, View, ViewError, Work, WriteError};

/// A view in a schema of PostgreSQL, version 12 or newer. Clones are the same view. A process has up to four connections for writing and eight for reading, and
/// keeps them for the next time.
///
/// ```no_run
/// use holm_projections::postgres::Transaction;
/// use holm_projections::{HandlerError, Options, PostgresView, Projection, spread};
/// use holm_runtime::bus::{Bus, Fact, Interest};
///
/// struct EventsByEntity;
///
/// impl Projection<PostgresView> for EventsByEntity {
///     const NAME: &'static str = "events_by_entity";
///
///     fn interest(&self) -> Interest {
///         Interest::everything()
///     }
///
///     fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
///         tx.batch_execute("CREATE TABLE IF NOT EXISTS events (entity text PRIMARY KEY, number bigint NOT NULL)")?;
///         Ok(())
///     }
///
///     fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
///         let count = tx.prepare("INSERT INTO events VALUES ($1, 1) ON CONFLICT (entity) DO UPDATE SET number = events.number + 1")?;
///         for fact in facts {
///             tx.execute(&count, &[&fact.address().to_string()])?;
///         }
///         Ok(())
///     }
/// }
///
/// # async fn run(bus: Bus) -> Result<(), Box<dyn std::error::Error>> {
/// let config = "host=db.example.org user=shop dbname=shop".parse()?;
/// let view = PostgresView::new(config, "events_by_entity")?;
/// // On every node: each works on its share of the shards.
/// let projection = spread(bus, EventsByEntity, view.clone(), Options::default());
/// let busiest = view
///     .read(|tx| tx.query_one("SELECT entity FROM events ORDER BY number DESC LIMIT 1", &[]))
///     .await?;
/// println!("{} {:?}", busiest.get::<_, String>(0), projection.status().state);
/// # Ok(())
/// # }
/// ```
///
/// **What a handler must know.** Its transaction is `READ COMMITTED`, and those of other members go on beside it. A row that facts of several shards write, as a total,
/// is to be updated where it stands (`SET sum = sum + 1`, `ON CONFLICT DO UPDATE`) or locked before it is read (`SELECT … FOR UPDATE`); in rows of one entity nobody
/// comes between. Two members that wait for each other's rows are told apart by the server, and one of them begins anew. Tables are found by their bare names; `public`
/// is looked at behind the view, for what extensions brought.
#[derive(Clone)]
pub struct PostgresView {
    database: Arc<Database>,
    side: Side,
}

/// Which of the two views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The one that is read, whatever its number is.
    Present,
    /// The one of this number, which is built beside it.
    Beside(i64),
}

impl PostgresView {
    /// The view in this schema, over connections without TLS: for a socket of the same machine, or a network that you trust. The user needs the right to make schemas
    /// in the database (`GRANT CREATE ON DATABASE`).
    ///
    /// # Errors
    /// [`ViewError::Broken`] when the schema's name is none: 1 to 40 of `a-z`, `0-9` and `_`, that do not begin with a digit or `pg_`. Whether the server can be reached
    /// and lets one in is found out by whoever uses the view: a projection says so in its status.
    pub fn new(config: Config, schema: &str) -> Result<Self, ViewError> {
        Self::with_tls(config, schema, NoTls)
    }

    /// The same over connections with TLS, as this connector makes it (`tokio-postgres-rustls` has one). What `sslmode` of the configuration says counts: set it to
    /// `require`.
    ///
    /// # Errors
    /// As [`PostgresView::new`].
    pub fn with_tls<T>(config: Config, schema: &str, tls: T) -> Result<Self, ViewError>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let database = Arc::new(Database::new(config, schema, tls)?);
        Ok(Self { database, side: Side::Present })
    }

    /// The schema in which readers find the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.database.names.present()
    }

    /// Reads the view. All that `read` reads is of one moment and of one view, it cannot write, and neither it nor the projection waits for the other. When a rebuilt
    /// view takes the place of the one that is read in the middle of it, `read` is called again, up to five times in all.
    ///
    /// # Errors
    /// [`ViewError`] when the server cannot be asked, or has no such view yet, and what `read` says.
    ///
    /// # Panics
    /// When `read` does.
    ///
    /// # Cancel safety
    /// Safe: reading goes on and its result is dropped.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ViewError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error> + Send + 'static,
    {
        read::read(&self.database, read).await
    }
}

impl View for PostgresView {
    type Transaction<'t> = Transaction<'t>;

    fn adopt(&self, projection: Identity, prepare: Work<'_, Self>) -> Result<Stored, WriteError> {
        let names = &self.database.names;
        let adopted = self
            .database
            .transact(|tx| tables::adopt(tx, names, self.side, projection, prepare))?;
        self.database.belongs_to(projection);
        Ok(adopted)
    }

    fn write(&self, change: &Change, work: Work<'_, Self>) -> Result<(), WriteError> {
        let (names, version) = (&self.database.names, self.database.version());
        self.database.transact(|tx| write::write(tx, names, self.side, version, change, work))
    }

    fn set_paused(&self, paused: bool) -> Result<(), ViewError> {
        let names = &self.database.names;
        self.database.change(|tx| generations::set_paused(tx, names, paused))
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, ViewError> {
        let names = &self.database.names;
        self.database.look(|tx| tables::set_aside(tx, names, self.side))
    }

    fn half_built(&self) -> Result<Option<Self>, ViewError> {
        let names = &self.database.names;
        generations::drop_old(&self.database);
        let beside = self.database.look(|tx| generations::beside(tx, names))?;
        Ok(beside.map(|number| self.beside(number)))
    }

    fn begin_rebuild(&self) -> Result<Self, ViewError> {
        let names = &self.database.names;
        let version = self.database.version().ok_or_else(|| {
            let reason = "no projection has adopted it".to_owned();
            ViewError::Broken { reason }
        })?;
        let number = self.database.change(|tx| generations::begin(tx, names, version))?;
        Ok(self.beside(number))
    }

    fn switch_to(&self, rebuilt: Self) -> Result<(), ViewError> {
        let Side::Beside(number) = rebuilt.side else {
            let reason = "it is the present view already".to_owned();
            return Err(ViewError::Broken { reason });
        };
        let names = &self.database.names;
        self.database.change(|tx| generations::switch(tx, names, number))?;
        generations::drop_old(&self.database);
        Ok(())
    }
}

impl SpreadView for PostgresView {
    fn look(&self) -> Result<Look, ViewError> {
        let names = &self.database.names;
        self.database.look(|tx| look::look(tx, names))
    }

    fn rebuild_once(&self, version: u32) -> Result<Option<Self>, ViewError> {
        let names = &self.database.names;
        let number = self.database.change(|tx| generations::begin_once(tx, names, version))?;
        Ok(number.map(|number| self.beside(number)))
    }

    fn hold_for(&self, rebuilt: &Self) -> Result<bool, ViewError> {
        let Side::Beside(number) = rebuilt.side else { return Ok(false) };
        let names = &self.database.names;
        self.database.change(|tx| generations::hold_for(tx, names, number))
    }
}

impl PostgresView {
    fn beside(&self, number: i64) -> Self {
        Self { database: Arc::clone(&self.database), side: Side::Beside(number) }
    }
}

impl fmt::Debug for PostgresView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresView")
            .field("database", &self.database.place)
            .field("side", &self.side)
            .finish()
    }
}
