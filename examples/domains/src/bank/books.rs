//! The books: a view over all accounts. A statement for each of them, and the totals of the bank.
//!
//! Amounts are SQLite's integers, so one of more than 2^63 - 1 cents is not entered: its record is set aside.

use holm::bus::{Fact, Interest};
use holm_projections::rusqlite::{Row, Transaction, params};
use holm_projections::{HandlerError, Projection, SqliteView, ViewError};

use super::{Account, AccountEvent};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS accounts (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        account TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, event TEXT NOT NULL,
        change INTEGER NOT NULL, balance INTEGER NOT NULL, PRIMARY KEY (account, number)) STRICT;
    CREATE TABLE IF NOT EXISTS flows (
        id INTEGER PRIMARY KEY CHECK (id = 1), paid_in INTEGER NOT NULL, paid_out INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO flows VALUES (1, 0, 0);";

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

/// The bank as a whole, in cents. What was paid in and is not paid out lies on the accounts: [`BookTotals::is_balanced`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookTotals {
    /// Accounts that are open.
    pub open_accounts: u64,
    /// The sum of all balances.
    pub balances: i64,
    /// Everything that came in.
    pub paid_in: i64,
    /// Everything that went out.
    pub paid_out: i64,
}

impl BookTotals {
    /// True when no money appeared and none vanished.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.paid_in - self.paid_out == self.balances
    }
}

impl Projection<SqliteView> for Books {
    const NAME: &'static str = "bank-books";

    fn interest(&self) -> Interest {
        Interest::of::<Account>()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.execute_batch(TABLES)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        facts.iter().try_for_each(|fact| enter(tx, fact))
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
    Ok(())
}

impl Books {
    /// The bank as a whole, all of one moment.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read.
    pub async fn totals(view: &SqliteView) -> Result<BookTotals, ViewError> {
        let sql = "SELECT (SELECT count(*) FROM accounts WHERE open = 1),
                          (SELECT coalesce(sum(balance), 0) FROM accounts), paid_in, paid_out FROM flows";
        let totals = |row: &Row<'_>| {
            Ok(BookTotals {
                open_accounts: row.get(0)?,
                balances: row.get(1)?,
                paid_in: row.get(2)?,
                paid_out: row.get(3)?,
            })
        };
        view.read(move |connection| connection.query_row(sql, [], totals)).await
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
