//! The file that says where the local cluster of `holm dev` is: written by `holm dev`, read by every other verb to find its nodes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dev::DevPaths;

/// Where the file stands, below the directory in which `holm dev` was called.
pub const STATE_FILE: &str = ".holm/dev/cluster.json";

/// A local cluster of real processes. This is also the document that `holm dev --detach --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningCluster {
    /// Its name.
    pub cluster: String,
    /// Where its nodes keep their data.
    pub data_dir: PathBuf,
    /// Its processes.
    pub nodes: Vec<RunningNode>,
    /// What only the supervisor needs.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// One process of a local cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningNode {
    /// The node's name.
    pub name: String,
    /// Its id in the cluster.
    pub id: u64,
    /// Its process id; it changes when the node is started again.
    pub pid: u32,
    /// Where its management HTTP answers, as in `http://127.0.0.1:7070`.
    pub http: String,
    /// Where its peers reach it, as in `127.0.0.1:7171`.
    pub peer: String,
    /// Its log file.
    pub log: PathBuf,
}

impl RunningCluster {
    /// The cluster that runs from here: below `HOLM_DEV_DIR`, else below the current directory. `None` when there is none.
    ///
    /// # Errors
    /// As [`RunningCluster::read`], and when the current directory is gone.
    pub fn here() -> std::io::Result<Option<Self>> {
        Self::read(DevPaths::here()?.root())
    }

    /// Reads the file below `directory`. `None` when there is none: no cluster is running from here.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn read(directory: &Path) -> std::io::Result<Option<Self>> {
        let text = match std::fs::read(directory.join(STATE_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text).map(Some).map_err(std::io::Error::other)
    }
}
