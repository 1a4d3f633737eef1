//! Where the local cluster keeps its files: everything below `.holm/dev` of one directory.

use std::path::{Path, PathBuf};

use crate::state_file::STATE_FILE;

/// Names the directory that holds `.holm`, instead of the current one.
pub(crate) const DEV_DIR_VARIABLE: &str = "HOLM_DEV_DIR";

/// Longest path of a socket that the kernel takes, with room for the final zero (`sun_path` has 108 bytes on Linux, 104 elsewhere).
const SOCKET_PATH_BYTES: usize = 100;

/// The files of one local cluster.
#[derive(Debug, Clone)]
pub struct DevPaths {
    root: PathBuf,
}

impl DevPaths {
    /// Below `HOLM_DEV_DIR`, else below the current directory.
    ///
    /// # Errors
    /// When the current directory is gone.
    pub fn here() -> std::io::Result<Self> {
        match std::env::var_os(DEV_DIR_VARIABLE) {
            Some(root) if !root.is_empty() => Ok(Self { root: std::path::absolute(root)? }),
            _ => Ok(Self { root: std::env::current_dir()? }),
        }
    }

    /// Below this directory.
    ///
    /// # Errors
    /// When the path is relative and the current directory is gone.
    pub fn below(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// The directory that holds `.holm`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the cluster's files.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.join(".holm/dev")
    }

    /// The file that says where the cluster is.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.root.join(STATE_FILE)
    }

    /// Held by the supervisor as long as it lives.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir().join("supervisor.lock")
    }

    /// What a detached supervisor prints.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.log("supervisor")
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.log"))
    }

    /// The supervisor's socket: in the cluster's directory, or in the system's temporary one when that path is too long for a socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let near = self.dir().join("control.sock");
        if near.as_os_str().len() <= SOCKET_PATH_BYTES {
            return near;
        }
        std::env::temp_dir().join(format!("holm-dev-{}.sock", std::process::id()))
    }

    /// Temporary data directories begin with this.
    pub(super) const TEMPORARY_DATA: &'static str = "data-";
}
