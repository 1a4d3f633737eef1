//! What a service developer writes: a name, what is of interest, the tables, and the handler.

use holm_runtime::bus::{Fact, Interest};

use crate::view::View;

/// Why a handler could not handle its facts: any error, or a text.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Turns facts into a view.
///
/// ```
/// use holm_projections::{HandlerError, Projection, SqliteView};
/// use holm_projections::rusqlite::{Transaction, params};
/// use holm_runtime::bus::{Fact, Interest};
///
/// struct EventsByEntity;
///
/// impl Projection<SqliteView> for EventsByEntity {
///     const NAME: &'static str = "events_by_entity";
///
///     fn interest(&self) -> Interest {
///         Interest::everything()
///     }
///
///     fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
///         tx.execute_batch("CREATE TABLE IF NOT EXISTS events (entity TEXT PRIMARY KEY, number INTEGER)")?;
///         Ok(())
///     }
///
///     fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
///         let sql = "INSERT INTO events VALUES (?, 1) ON CONFLICT DO UPDATE SET number = number + 1";
///         let mut count = tx.prepare_cached(sql)?;
///         for fact in facts {
///             count.execute(params![fact.address().to_string()])?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Projection<V: View>: Send + Sync + 'static {
    /// Its name, stored in the view: a view belongs to one projection.
    const NAME: &'static str;

    /// The version of what the handler writes. When it is not the stored one, the view is rebuilt beside the old one at the next start, and readers see the
    /// old one until then: raise it whenever the handler, the tables or the interest change.
    const VERSION: u32 = 1;

    /// Which facts it wants.
    fn interest(&self) -> Interest;

    /// Makes the tables when they are not there, where the store has such. Called at each start, in a transaction.
    ///
    /// # Errors
    /// Whatever is in the way. The projection stops and says so.
    fn prepare(&self, tx: &mut V::Transaction<'_>) -> Result<(), HandlerError> {
        let _ = tx;
        Ok(())
    }

    /// Writes what follows from these facts. They are whole records, those of a shard in order, and come in the same transaction as the position behind them. It
    /// must do nothing but write through `tx`: what it does elsewhere is done again when the transaction is. It runs on a thread that may block.
    ///
    /// # Errors
    /// Whatever is in the way. Nothing of the transaction stays, and [`crate::OnFailure`] says what follows. A panic counts as one.
    fn handle(&self, tx: &mut V::Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError>;
}
