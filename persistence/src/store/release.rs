//! Opening what was let go a moment ago.
//!
//! A lock belongs to an open file, and a program that this process starts has all of its open files too, from the fork until the program begins: what was let
//! go here is still held there, for about a millisecond. sled's background work holds a database that was closed some milliseconds more. So whoever finds a
//! lock taken waits a moment before it says so.

use std::fs::{File, TryLockError};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a lock is tried, 10 ms apart: a second.
const LOCK_ATTEMPTS: u32 = 100;

/// How often a database is opened that was just closed, 10 ms apart: five seconds.
const DATABASE_ATTEMPTS: u32 = 500;

const PAUSE: Duration = Duration::from_millis(10);

/// Locks a file for this handle alone; waits up to a second for one that is locked. It blocks.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when another has it all the while; the error of the system otherwise.
pub fn lock_file(file: &File) -> Result<(), TryLockError> {
    again(LOCK_ATTEMPTS, || file.try_lock(), |error| matches!(error, TryLockError::WouldBlock))
}

/// Opens a database of sled; waits up to five seconds for one that is locked. It blocks. Only this process may use the folder: hold a lock of your own.
///
/// # Errors
/// Those of sled.
pub fn open_sled(config: &sled::Config) -> sled::Result<sled::Db> {
    let locked = |error: &sled::Error| matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"));
    again(DATABASE_ATTEMPTS, || config.open(), locked)
}

/// Tries until it goes well, fails for another reason than a lock, or was tried often enough.
fn again<T, E>(
    attempts: u32,
    attempt: impl Fn() -> Result<T, E>,
    locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let (never, pause) = (Mutex::new(()), Condvar::new());
    for _ in 1..attempts {
        match attempt() {
            Err(error) if locked(&error) => {
                let waiting = never.lock().unwrap_or_else(PoisonError::into_inner);
                drop(pause.wait_timeout(waiting, PAUSE));
            }
            concluded => return concluded,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_let_go_meanwhile_is_taken() {
        let tries = Cell::new(0);
        let third = || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err("locked") } else { Ok(tries.get()) }
        };
        assert_eq!(again(5, third, |error| *error == "locked"), Ok(3));
        tries.set(0);
        assert_eq!(again(2, third, |error| *error == "locked"), Err("locked"));
        assert_eq!(tries.get(), 2, "as often as it may be");
        tries.set(0);
        assert_eq!(again(5, third, |_| false), Err("locked"));
        assert_eq!(tries.get(), 1, "another error is not waited for");
    }

    #[test]
    fn a_lock_that_stays_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = file.reopen().unwrap();
        held.try_lock().unwrap();
        assert!(matches!(lock_file(file.as_file()), Err(TryLockError::WouldBlock)));
    }

    #[test]
    fn a_database_that_is_closed_meanwhile_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let config = sled::Config::default().path(dir.path()).flush_every_ms(None);
        let before = config.open().unwrap();
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| open_sled(&config).map(drop));
            drop(before);
            opened.join().unwrap().unwrap();
        });
    }
}
