//! What a run leaves behind: its document, and nothing of its data.

use std::path::{Path, PathBuf};

use super::document::BenchDocument;
use crate::output::{Failure, rfc3339};
use crate::wall_clock::now_us;

/// A directory of its own that is deleted at the end.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn create(asked: Option<&Path>) -> Result<Self, Failure> {
        let below = asked.map_or_else(|| PathBuf::from(".holm/bench"), Path::to_owned);
        let path = below.join(format!("run-{:016x}", crate::dev::process::random()));
        let path = std::path::absolute(&path).and_then(|path| {
            std::fs::create_dir_all(&path)?;
            Ok(path)
        });
        let path = path.map_err(|error| {
            Failure::new(format!("{} cannot be created", below.display()), error)
        })?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A saved run.
pub(super) fn read(path: &Path) -> Result<BenchDocument, Failure> {
    let text = std::fs::read(path);
    text.and_then(|text| serde_json::from_slice(&text).map_err(Into::into))
        .map_err(|error| Failure::usage(format!("{} is no saved run", path.display()), error))
}

/// Saves a run under the present time.
pub(super) fn save(document: &BenchDocument) -> Result<PathBuf, Failure> {
    let dir = PathBuf::from(".holm/bench");
    let name = rfc3339(now_us() / 1_000).replace(':', "-");
    let path = dir.join(format!("{}.json", name.trim_end_matches('Z')));
    let write = || {
        std::fs::create_dir_all(&dir)?;
        std::fs::write(&path, serde_json::to_vec_pretty(document)?)
    };
    write()
        .map_err(|error| Failure::new(format!("{} cannot be written", path.display()), error))?;
    Ok(path)
}
