//! The seam to the disk: what a test may hold or break. In production every fault is off and each check is one atomic load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// The points of a group commit at which a fault can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskPoint {
    /// Before the group is handed to sled.
    Write,
    /// Between sled's flush and the fsync.
    Fsync,
}

/// A fault layer shared by a test and the store it opened. Faults are placed by number: "the n-th next".
#[derive(Debug, Default)]
pub struct Disk {
    armed: AtomicBool,
    fsyncs: AtomicU64,
    faults: Mutex<Faults>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Faults {
    fail: Vec<(DiskPoint, u64, FaultKind)>,
    held: bool,
    waiting: bool,
}

/// What a placed fault looks like to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No space left on device.
    Full,
    /// Input/output error.
    Io,
}

impl Disk {
    /// Makes the `nth` next passage of a point fail; 1 is the very next.
    pub fn fail(&self, point: DiskPoint, nth: u64, kind: FaultKind) {
        self.lock().fail.push((point, nth.max(1), kind));
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Holds every fsync from now on until [`Disk::release`].
    pub fn hold(&self) {
        self.lock().held = true;
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Lets what is held go on.
    pub fn release(&self) {
        self.lock().held = false;
        self.released.notify_all();
    }

    /// Takes all faults away and lets what is held go on.
    pub fn heal(&self) {
        *self.lock() = Faults::default();
        self.armed.store(false, Ordering::SeqCst);
        self.released.notify_all();
    }

    /// True while an fsync is held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.lock().waiting
    }

    /// How many fdatasync calls on the database file have been made.
    #[must_use]
    pub fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self, point: DiskPoint) -> std::io::Result<()> {
        if !self.armed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut faults = self.lock();
        while faults.held && point == DiskPoint::Fsync {
            faults.waiting = true;
            faults = self.released.wait(faults).unwrap_or_else(PoisonError::into_inner);
        }
        faults.waiting = false;
        let mut due = None;
        faults.fail.retain_mut(|(at, nth, kind)| {
            if *at != point {
                return true;
            }
            *nth -= 1;
            if *nth == 0 {
                due = Some(*kind);
            }
            *nth > 0
        });
        match due {
            None => Ok(()),
            Some(FaultKind::Full) => Err(std::io::ErrorKind::StorageFull.into()),
            Some(FaultKind::Io) => Err(std::io::Error::other("injected input/output error")),
        }
    }

    pub(super) fn count_fsync(&self) {
        self.fsyncs.fetch_add(1, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
