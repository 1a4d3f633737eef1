//! Where the generations of a view are: the link, the files or folders beside it, and the lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use holm_persistence::lock_file;

use crate::view::ViewError;

/// Removes a generation and what is beside it, as far as it is there.
pub(crate) type Remove = fn(&Path) -> io::Result<()>;

pub(crate) struct Place {
    path: PathBuf,
    folder: PathBuf,
    name: String,
    remove: Remove,
    /// The highest number that a generation ever had, so that none is used twice: one that is still to close may remove files by their names.
    highest: AtomicU64,
    /// Held as long as the place is.
    _lock: File,
}

impl Place {
    /// Takes the path for this process.
    pub(crate) fn take(path: PathBuf, remove: Remove) -> Result<Self, ViewError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.map(str::to_owned) else {
            let reason = format!("{} names no file", path.display());
            return Err(ViewError::Broken { reason });
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
        let lock_path = folder.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(|error| at(&lock_path, &error))?;
        lock_file(&lock).map_err(|error| match error {
            fs::TryLockError::WouldBlock => ViewError::Passing {
                reason: format!("{} is in use, here or in another process", path.display()),
            },
            fs::TryLockError::Error(error) => at(&lock_path, &error),
        })?;
        Ok(Self { path, folder, name, remove, highest: AtomicU64::new(1), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_of(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{}.{number}", self.name))
    }

    /// The generation that the link names, and the one that is half built, when there are such. All others are removed.
    pub(crate) fn generations(&self) -> Result<(Option<u64>, Option<u64>), ViewError> {
        let current = self.linked()?;
        let mut numbers = self.numbers().map_err(|error| at(&self.folder, &error))?;
        numbers.retain(|number| Some(*number) != current);
        // Only a generation above the current one can be one that is being built.
        let half_built =
            current.and_then(|current| numbers.last().copied().filter(|newest| *newest > current));
        for number in numbers.into_iter().filter(|number| Some(*number) != half_built) {
            self.remove(number);
        }
        self.highest.store(half_built.or(current).unwrap_or(1), Ordering::SeqCst);
        Ok((current, half_built))
    }

    /// Removes a generation that nobody uses any more.
    pub(crate) fn remove(&self, number: u64) {
        let file = self.file_of(number);
        if let Err(error) = (self.remove)(&file) {
            tracing::warn!(file = %file.display(), %error, "an old view stays on the disk");
        }
    }

    /// A number that no generation had.
    pub(crate) fn next_number(&self) -> u64 {
        self.highest.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Makes the link name this generation: at once, and so that it lasts.
    pub(crate) fn point_to(&self, number: u64) -> Result<(), ViewError> {
        let beside = self.folder.join(format!("{}.link", self.name));
        let replaced = || -> io::Result<()> {
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(format!("{}.{number}", self.name), &beside)?;
            fs::rename(&beside, &self.path)?;
            File::open(&self.folder)?.sync_all()
        };
        replaced().map_err(|error| at(&self.path, &error))
    }

    /// The number of the generation that the link names. A rebuild that comes to its end on another thread removes what the link named before: so it is
    /// broken when it still names what is not there.
    fn linked(&self) -> Result<Option<u64>, ViewError> {
        match self.linked_once() {
            Err(ViewError::Broken { .. }) => self.linked_once(),
            linked => linked,
        }
    }

    fn linked_once(&self) -> Result<Option<u64>, ViewError> {
        let target = match fs::read_link(&self.path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let reason = format!(
                    "{path} is a file, not a link of ours; to use it, move it to {path}.1 and link {path} to that",
                    path = self.path.display()
                );
                return Err(ViewError::Broken { reason });
            }
            Err(error) => return Err(at(&self.path, &error)),
        };
        let number = target.to_str().and_then(|name| self.number_of(name));
        match number {
            Some(number) if self.file_of(number).exists() => Ok(Some(number)),
            _ => {
                let (path, target) = (self.path.display(), target.display());
                let reason = format!("{path} is a link to {target}, which is no view of its own");
                Err(ViewError::Broken { reason })
            }
        }
    }

    /// The numbers of the generations that have a file, in order.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(|name| self.number_of(name)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn number_of(&self, name: &str) -> Option<u64> {
        name.strip_prefix(&self.name)?.strip_prefix('.')?.parse().ok()
    }
}

pub(crate) fn at(path: &Path, error: &io::Error) -> ViewError {
    let reason = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::Interrupted => ViewError::Passing { reason },
        _ => ViewError::Broken { reason },
    }
}
