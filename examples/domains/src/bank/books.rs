//! The books: a view over all accounts and transfers. A statement for each account, and the totals of the bank.
//!
//! A transfer takes money from one account and brings it to another, so meanwhile it is on none, and it neither came into the bank nor left it. The accounts do
//! not say so: a withdrawal for a transfer is one like any other. What tells them apart is their cause. A transfer sends a command with an event of its own, and
//! the command that was handled then is what caused the movement on the account. The books note both, in whatever order the shards bring them.
//!
//! So the totals are told by two sides. What the accounts took and gave for a transfer that is under way is on its way, up to its amount; one that says that it is
//! over holds nothing. Money that was taken twice, given twice, or never given breaks the balance ([`BookTotals::is_balanced`]).
//!
//! Amounts are SQLite's integers, so one of more than 2^63 - 1 cents is not entered: its record is set aside.

use holm::bus::{Fact, Interest};
use holm::{CausationId, Entity};
use holm_projections::rusqlite::{self, Connection, Row, Transaction, params};
use holm_projections::{HandlerError, Projection, SqliteView, ViewError};

use super::transfer::TransferEvent;
use super::{Account, AccountEvent, Transfer};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS accounts (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        account TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, event TEXT NOT NULL,
        change INTEGER NOT NULL, balance INTEGER NOT NULL, PRIMARY KEY (account, number)) STRICT;
    CREATE TABLE IF NOT EXISTS flows (
        id INTEGER PRIMARY KEY CHECK (id = 1), paid_in INTEGER NOT NULL, paid_out INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO flows VALUES (1, 0, 0);
    CREATE TABLE IF NOT EXISTS transfers (
        id TEXT PRIMARY KEY, amount INTEGER NOT NULL, stage TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS movements (
        cause TEXT PRIMARY KEY, transfer TEXT, taken INTEGER NOT NULL, given INTEGER NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS movements_of_transfers ON movements (transfer);";

/// What a transfer holds, and what it moved: what an account says about it counts as soon as it is known whose it was.
const TOTALS: &str = "
    WITH moved AS (
        SELECT stage, amount, coalesce(sum(taken), 0) AS taken, coalesce(sum(given), 0) AS given
        FROM transfers LEFT JOIN movements ON transfer = id GROUP BY id),
    held AS (SELECT stage, min(max(taken - given, 0), amount) AS amount FROM moved)
    SELECT (SELECT count(*) FROM accounts WHERE open = 1),
           (SELECT coalesce(sum(balance), 0) FROM accounts),
           (SELECT coalesce(sum(amount), 0) FROM held WHERE stage = 'under way'),
           (SELECT coalesce(sum(amount), 0) FROM held WHERE stage = 'stranded'),
           paid_in - (SELECT coalesce(sum(given), 0) FROM moved),
           paid_out - (SELECT coalesce(sum(taken), 0) FROM moved)
    FROM flows";

/// The projection that keeps the books.
#[derive(Debug, Clone, Copy, Default)]
pub struct Books;

/// A line of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the events of the account.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, as in `Deposited`.
    pub event: String,
    /// By how much the balance changed, in cents.
    pub change: i64,
    /// The balance after it.
    pub balance: i64,
}

/// The bank as a whole, in cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookTotals {
    /// Accounts that are open.
    pub open_accounts: u64,
    /// The sum of all balances.
    pub balances: i64,
    /// What transfers have taken and not given yet.
    pub on_its_way: i64,
    /// What transfers have taken and nobody will give by himself.
    pub stranded: i64,
    /// Everything that came into the bank.
    pub paid_in: i64,
    /// Everything that left it.
    pub paid_out: i64,
}

impl BookTotals {
    /// True when no money appeared and none vanished: what was paid in and is not paid out is on the accounts and in transfers. So it is whenever the view has
    /// caught up, also in the middle of transfers; before that, a shard may be ahead of another.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.balances + self.on_its_way + self.stranded == self.paid_in - self.paid_out
    }
}

impl Projection<SqliteView> for Books {
    const NAME: &'static str = "bank-books";

    /// The second knows transfers.
    const VERSION: u32 = 2;

    fn interest(&self) -> Interest {
        Interest::of::<Account>().entity_type(Transfer::TYPE)
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.execute_batch(TABLES)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        facts.iter().try_for_each(|fact| match fact.address().entity_type() {
            Transfer::TYPE => enter_transfer(tx, fact),
            _ => enter(tx, fact),
        })
    }
}

fn enter(tx: &Transaction<'_>, fact: &Fact) -> Result<(), HandlerError> {
    let account = fact.address().id();
    let (paid_in, paid_out) = match fact.event::<Account>()? {
        AccountEvent::Opened { owner } => {
            let sql = "INSERT INTO accounts VALUES (?, ?, 0, 1)";
            tx.prepare_cached(sql)?.execute(params![account, owner])?;
            (0, 0)
        }
        AccountEvent::Deposited { amount } => (i64::try_from(amount)?, 0),
        AccountEvent::Withdrawn { amount } => (0, i64::try_from(amount)?),
        AccountEvent::Closed { paid_out } => {
            tx.prepare_cached("UPDATE accounts SET open = 0 WHERE id = ?")?.execute([account])?;
            (0, i64::try_from(paid_out)?)
        }
    };
    let sql = "UPDATE accounts SET balance = balance + ? WHERE id = ? RETURNING balance";
    let change = paid_in - paid_out;
    let balance: i64 =
        tx.prepare_cached(sql)?.query_row(params![change, account], |row| row.get(0))?;
    let (number, at) = (fact.sequence().0, fact.at().as_millis());
    tx.prepare_cached("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
        account,
        number,
        at,
        fact.name(),
        change,
        balance
    ])?;
    tx.prepare_cached("UPDATE flows SET paid_in = paid_in + ?, paid_out = paid_out + ?")?
        .execute([paid_in, paid_out])?;
    // What a person asks for is its own cause, and belongs to no transfer.
    if fact.causation_id() != fact.command_id().causes() {
        note_movement(tx, fact.causation_id(), None, paid_out, paid_in)?;
    }
    Ok(())
}

fn enter_transfer(tx: &Transaction<'_>, fact: &Fact) -> Result<(), HandlerError> {
    let transfer = fact.address().id();
    let event = fact.event::<Transfer>()?;
    let stage = match &event {
        TransferEvent::Started { amount, .. } => {
            let sql = "INSERT INTO transfers VALUES (?, ?, 'under way')";
            tx.prepare_cached(sql)?.execute(params![transfer, i64::try_from(*amount)?])?;
            "under way"
        }
        TransferEvent::Withdrawn {}
        | TransferEvent::TurnedBack { .. }
        | TransferEvent::DeadlinePassed {} => "under way",
        TransferEvent::Completed {} | TransferEvent::Failed { .. } | TransferEvent::Refunded {} => {
            "over"
        }
        TransferEvent::Stranded { .. } => "stranded",
    };
    let sql = "UPDATE transfers SET stage = ? WHERE id = ?";
    tx.prepare_cached(sql)?.execute([stage, transfer])?;
    // With each of these it asks an account for money, or brings it some.
    if let TransferEvent::Started { .. }
    | TransferEvent::Withdrawn {}
    | TransferEvent::TurnedBack { .. } = event
    {
        note_movement(tx, fact.command_id().causes(), Some(transfer), 0, 0)?;
    }
    Ok(())
}

/// What an account or a transfer says about one movement, whoever is first.
fn note_movement(
    tx: &Transaction<'_>,
    cause: CausationId,
    transfer: Option<&str>,
    taken: i64,
    given: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO movements VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
                   transfer = coalesce(transfer, excluded.transfer),
                   taken = taken + excluded.taken, given = given + excluded.given";
    let row = params![cause.to_string(), transfer, taken, given];
    tx.prepare_cached(sql)?.execute(row).map(drop)
}

fn totals(connection: &Connection) -> rusqlite::Result<BookTotals> {
    connection.query_row(TOTALS, [], |row| {
        Ok(BookTotals {
            open_accounts: row.get(0)?,
            balances: row.get(1)?,
            on_its_way: row.get(2)?,
            stranded: row.get(3)?,
            paid_in: row.get(4)?,
            paid_out: row.get(5)?,
        })
    })
}

impl Books {
    /// The bank as a whole, all of one moment.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read.
    pub async fn totals(view: &SqliteView) -> Result<BookTotals, ViewError> {
        view.read(totals).await
    }

    /// The newest lines of an account's statement, newest first.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read.
    pub async fn statement(
        view: &SqliteView,
        account: &str,
        limit: u32,
    ) -> Result<Vec<Entry>, ViewError> {
        let sql = "SELECT number, at_ms, event, change, balance FROM entries
                   WHERE account = ? ORDER BY number DESC LIMIT ?";
        let entry = |row: &Row<'_>| {
            Ok(Entry {
                number: row.get(0)?,
                at_ms: row.get(1)?,
                event: row.get(2)?,
                change: row.get(3)?,
                balance: row.get(4)?,
            })
        };
        let account = account.to_owned();
        let read = view.read(move |connection| {
            connection.prepare_cached(sql)?.query_map(params![account, limit], entry)?.collect()
        });
        read.await
    }
}

#[cfg(test)]
mod tests;
