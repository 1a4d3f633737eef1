//! The seam to where a data directory lies: files in production, a simulated disk in a simulation.
//!
//! Beside the database a store has three small files: the lock, the side file and the tail file. What is in them is the store's own affair; here is
//! only how they are written.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use holm_core::{Entropy as _, OsEntropy};

use super::database::Database;
use super::error::StoreError;
use super::release::lock_file;
use super::sled_database::SledDatabase;
use crate::space::DiskSpace;

const LOCK_FILE_NAME: &str = "holm.lock";

/// Held for as long as the directory is ours.
pub(super) type Lock = Box<dyn Any + Send>;

/// Where a data directory lies.
pub(super) trait Medium: fmt::Debug + Send + Sync {
    /// The directory, as it is named in errors.
    fn dir(&self) -> &Path;

    /// Creates the directory when it is not there, and makes it ours.
    fn lock(&self) -> Result<Lock, StoreError>;

    /// A number that no other directory has.
    fn draw_identity(&self) -> u128;

    /// A small file; none when it is not there.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a small file durably and at once: it is the old one or the new one, whatever happens.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Opens or creates a file of a fixed length, zeros at first.
    fn open_fixed(&self, name: &str, length: usize) -> io::Result<Box<dyn FixedFile>>;

    /// Whether anything of a database is there.
    fn has_database(&self) -> bool;

    fn open_database(&self, cache_bytes: u64) -> sled::Result<Box<dyn Database>>;

    /// How much space there is.
    fn space(&self) -> io::Result<DiskSpace>;

    /// After a failed fsync the system may hold pages as clean that never reached the disk: the verification must read the disk.
    fn forget_cached_pages(&self) -> io::Result<()>;
}

/// A file that is overwritten in place and never synced.
pub(super) trait FixedFile: fmt::Debug + Send {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Medium for Directory {
    fn dir(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let dir = &self.path;
        let during = "creating the data directory";
        let locked = (|| {
            create_directory(dir)?;
            let path = dir.join(LOCK_FILE_NAME);
            File::options().write(true).create(true).truncate(false).open(path)
        })();
        let lock = locked.map_err(|error| StoreError::io(dir, during, &error))?;
        match lock_file(&lock) {
            Ok(()) => Ok(Box::new(lock)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io(dir, "locking", &error)),
        }
    }

    fn draw_identity(&self) -> u128 {
        OsEntropy.next_u128()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new file, fsynced, renamed over the old one, and the directory fsynced.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }

    fn open_fixed(&self, name: &str, length: usize) -> io::Result<Box<dyn FixedFile>> {
        let path = self.path.join(name);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < length as u64 {
            // Written in full once, so that a later writing needs no new space on the disk.
            file.write_all_at(&vec![0; length], 0)?;
        }
        Ok(Box::new(file))
    }

    fn has_database(&self) -> bool {
        self.path.join("db").exists() || self.path.join("conf").exists()
    }

    fn open_database(&self, cache_bytes: u64) -> sled::Result<Box<dyn Database>> {
        Ok(Box::new(SledDatabase::open(&self.path, cache_bytes)?))
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let disk = nix::sys::statvfs::statvfs(&self.path).map_err(io::Error::from)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        // What is reserved for root counts for neither.
        let taken = disk.blocks().saturating_sub(disk.blocks_free());
        let free = disk.blocks_available();
        Ok(DiskSpace { free_bytes: bytes(free), usable_bytes: bytes(taken.saturating_add(free)) })
    }

    fn forget_cached_pages(&self) -> io::Result<()> {
        use nix::fcntl::{PosixFadviseAdvice::POSIX_FADV_DONTNEED, posix_fadvise};
        let file = File::open(self.path.join("db"))?;
        posix_fadvise(&file, 0, 0, POSIX_FADV_DONTNEED).map_err(io::Error::from)
    }
}

impl FixedFile for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
}

/// Creates a directory; the name of each new one is made durable in its parent.
fn create_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create_directory(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}
