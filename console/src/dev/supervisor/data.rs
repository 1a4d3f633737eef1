//! Where the nodes keep their data, and what happens to it at the end.

use std::path::{Path, PathBuf};

use crate::dev::DevPaths;
use crate::dev::process::random;

/// The file in the data directory that keeps the cluster's name, so that the same data comes back as the same cluster.
const NAME_FILE: &str = "cluster-name";

/// A data directory that is deleted at the end, or kept.
#[derive(Debug)]
pub(super) struct DataDirectory {
    path: PathBuf,
    temporary: bool,
}

impl DataDirectory {
    /// The directory asked for, else a new one beside the logs: on the disk of the project, because a memory disk would make every fsync free.
    pub(super) fn open(
        paths: &DevPaths,
        asked: Option<&Path>,
        keep: bool,
    ) -> std::io::Result<Self> {
        let directory = match asked {
            Some(path) => Self { path: std::path::absolute(path)?, temporary: false },
            None => Self {
                path: paths.dir().join(format!("{}{:016x}", DevPaths::TEMPORARY_DATA, random())),
                temporary: !keep,
            },
        };
        std::fs::create_dir_all(&directory.path)?;
        Ok(directory)
    }

    /// The cluster's name: as stored with the data, or a new one that no other cluster on this machine has.
    pub(super) fn cluster_name(&self) -> std::io::Result<String> {
        let file = self.path.join(NAME_FILE);
        if let Ok(name) = std::fs::read_to_string(&file)
            && !name.trim().is_empty()
        {
            return Ok(name.trim().to_owned());
        }
        let name = format!("dev-{:06x}", random() & 0xFF_FFFF);
        std::fs::write(&file, &name)?;
        Ok(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn is_temporary(&self) -> bool {
        self.temporary
    }

    pub(super) fn of_node(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.path.join("ledger.ndjson")
    }

    /// Deletes the data when it is temporary.
    pub(super) fn discard(&self) -> std::io::Result<()> {
        if self.temporary { std::fs::remove_dir_all(&self.path) } else { Ok(()) }
    }
}

/// Deletes what a supervisor that was killed left behind. Called only under the lock, so nobody uses it.
pub(super) fn sweep(paths: &DevPaths, kept: &Path) {
    let Ok(entries) = std::fs::read_dir(paths.dir()) else { return };
    for entry in entries.flatten() {
        let temporary = entry.file_name().to_string_lossy().starts_with(DevPaths::TEMPORARY_DATA);
        // Data that was kept on purpose carries a mark.
        if temporary && entry.path() != kept && !entry.path().join(KEPT_MARK).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

const KEPT_MARK: &str = "kept";

/// Marks data in the temporary place that is to stay.
pub(super) fn mark_kept(path: &Path) -> std::io::Result<()> {
    std::fs::write(path.join(KEPT_MARK), b"")
}
