//! One database file: the connection that writes, those that read, and its end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::guard::Guard;
use super::view_error;
use crate::shelf::{self, READERS};
use crate::view::{ViewError, WriteError};

/// How long a lock of another tool on the file is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// What SQLite keeps beside a database.
const SIDE_FILES: [&str; 3] = ["", "-wal", "-shm"];

pub(super) struct Generation {
    file: PathBuf,
    writer: Mutex<Option<Writer>>,
    idle_readers: Mutex<Vec<Connection>>,
}

struct Writer {
    connection: Connection,
    guard: Guard,
}

impl shelf::Generation for Generation {
    fn open(file: PathBuf) -> Result<Self, ViewError> {
        let open = || -> rusqlite::Result<Writer> {
            let mut connection = Connection::open(&file)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            let guard = Guard::of(&mut connection)?;
            Ok(Writer { connection, guard })
        };
        let writer = open().map_err(|error| view_error(&error))?;
        Ok(Self { file, writer: Mutex::new(Some(writer)), idle_readers: Mutex::new(Vec::new()) })
    }

    /// Brings everything from the write-ahead log into the file, synced.
    fn sync(&self) -> Result<(), ViewError> {
        let writer = self.writer.lock();
        let Some(Writer { connection, .. }) = writer.as_ref() else { return Err(closed()) };
        // Readers may keep the last pages in the log; the log itself is synced all the same.
        let done = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()));
        done.map_err(|error| view_error(&error))
    }

    fn remove(file: &Path) -> io::Result<()> {
        for side in SIDE_FILES {
            let mut path = file.as_os_str().to_owned();
            path.push(side);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Generation {
    /// Runs `work` in a transaction that is committed when it goes well.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>, &Guard) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut writer = self.writer.lock();
        let Some(Writer { connection, guard }) = writer.as_mut() else {
            return Err(closed().into());
        };
        let failed = |error: rusqlite::Error| WriteError::View(view_error(&error));
        // Immediate: it takes the lock before it reads the position, so that nothing can come between the two.
        let mut tx =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let result = work(&mut tx, guard)?;
        tx.commit().map_err(failed)?;
        Ok(result)
    }

    /// A transaction of ours alone.
    pub(super) fn change(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), ViewError> {
        let changed = self.transact(|tx, _| work(tx).map_err(|error| view_error(&error).into()));
        changed.map_err(|error| match error {
            WriteError::View(error) => error,
            other => ViewError::Broken { reason: other.to_string() },
        })
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ViewError> {
        let idle = self.idle_readers.lock().pop();
        let run = || -> rusqlite::Result<T> {
            let connection = match idle {
                Some(connection) => connection,
                None => self.open_reader()?,
            };
            // One transaction, so that everything is read of one moment.
            let tx = connection.unchecked_transaction()?;
            let result = read(&tx)?;
            tx.finish()?;
            let mut idle = self.idle_readers.lock();
            if idle.len() < READERS {
                idle.push(connection);
            }
            Ok(result)
        };
        run().map_err(|error| view_error(&error))
    }

    fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }
}

fn closed() -> ViewError {
    ViewError::Broken { reason: "it is closed".to_owned() }
}
