//! What a reader writes down of each fact that it saw, in a table of SQLite or as a line of a file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use holm::bus::{Fact, Interest};
use holm_projections::rusqlite::{Connection, OpenFlags, Transaction, params};
use holm_projections::{HandlerError, Projection, SqliteView};

/// One fact: where it stands and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sight {
    pub(super) shard: u32,
    pub(super) offset: u64,
    pub(super) place: u32,
    pub(super) sequence: u64,
    pub(super) entity: String,
}

/// The view in which every fact must stand once.
pub(super) struct Sights;

impl Projection<SqliteView> for Sights {
    const NAME: &'static str = "chaos-sights";

    fn interest(&self) -> Interest {
        Interest::everything()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        // No key but the number: what comes twice must be seen, not refused.
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS sights (
                 number INTEGER PRIMARY KEY, shard INTEGER NOT NULL, record INTEGER NOT NULL, place INTEGER NOT NULL,
                 sequence INTEGER NOT NULL, entity TEXT NOT NULL) STRICT",
        )?;
        Ok(())
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        let mut put = tx.prepare_cached(
            "INSERT INTO sights (shard, record, place, sequence, entity) VALUES (?, ?, ?, ?, ?)",
        )?;
        for sight in facts.iter().map(Sight::of) {
            let Sight { shard, offset, place, sequence, entity } = sight;
            put.execute(params![shard, offset, place, sequence, entity])?;
        }
        Ok(())
    }
}

impl Sight {
    pub(super) fn of(fact: &Fact) -> Self {
        Self {
            shard: fact.shard().0,
            offset: fact.offset().0,
            place: fact.index(),
            sequence: fact.sequence().0,
            entity: fact.address().to_string(),
        }
    }

    /// One line, with its end, so that it is written in one go.
    pub(super) fn line(&self) -> String {
        let Self { shard, offset, place, sequence, entity } = self;
        format!("{shard} {offset} {place} {sequence} {entity}\n")
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        Some(Self {
            shard: words.next()?.parse().ok()?,
            offset: words.next()?.parse().ok()?,
            place: words.next()?.parse().ok()?,
            sequence: words.next()?.parse().ok()?,
            entity: words.next()?.to_owned(),
        })
    }
}

/// The lines of one life of a member.
///
/// # Errors
/// When the file cannot be read, or holds a line that is none. A last line without its end was being written when the process died.
pub(super) fn of_life(file: &Path) -> anyhow::Result<Vec<Sight>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| {
        Sight::read(line).with_context(|| format!("`{line}` in {} is no sight", file.display()))
    });
    lines.collect()
}

/// Where the view says that it is.
pub(super) fn positions(view: &Path) -> anyhow::Result<BTreeMap<u32, u64>> {
    let connection = open(view)?;
    let mut rows = connection.prepare("SELECT shard, position FROM holm_positions")?;
    let places = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(places.collect::<Result<_, _>>()?)
}

/// What stands in the view, in the order in which it was written.
pub(super) fn of_view(view: &Path) -> anyhow::Result<Vec<Sight>> {
    let connection = open(view)?;
    let sql = "SELECT shard, record, place, sequence, entity FROM sights ORDER BY number";
    let mut rows = connection.prepare(sql)?;
    let sights = rows.query_map([], |row| {
        Ok(Sight {
            shard: row.get(0)?,
            offset: row.get(1)?,
            place: row.get(2)?,
            sequence: row.get(3)?,
            entity: row.get(4)?,
        })
    })?;
    Ok(sights.collect::<Result<_, _>>()?)
}

/// As any other tool would: the process that writes may live.
fn open(view: &Path) -> anyhow::Result<Connection> {
    Connection::open_with_flags(view, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| view.display().to_string())
}
