//! What the disk itself can do: write to a plain file and `fdatasync`, one after the other.
//!
//! Measured twice, appending and in place: an append also makes the file system write the new length, which a store with a file of a fixed
//! length escapes. The better of the two counts, so that the comparison does not flatter us.
#![expect(clippy::disallowed_methods, reason = "this measures time")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one command of the bench stores, roughly.
const BYTES: usize = 128;

/// Length of the file that is written in place.
const IN_PLACE_BYTES: u64 = 1024 * 1024;

/// Writes with `fdatasync` per second to a plain file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// At the end of the file.
    pub(super) appended: f64,
    /// In place, or appended where that is faster.
    pub(super) best: f64,
}

impl Rates {
    /// The better of two measurements, each way by itself.
    pub(super) fn max(self, other: Self) -> Self {
        Self { appended: self.appended.max(other.appended), best: self.best.max(other.best) }
    }
}

/// Measures both ways in `dir`, each for half of `time`.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn rates(dir: &Path, time: Duration) -> std::io::Result<Rates> {
    let path = dir.join("fsync-probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let appended =
        repeat(time / 2, |_| file.write_all(&[7; BYTES]).and_then(|()| file.sync_data()));
    file.set_len(0)?;
    file.write_all_at(&vec![7; usize::try_from(IN_PLACE_BYTES).unwrap_or_default()], 0)?;
    file.sync_all()?;
    let in_place = repeat(time / 2, |nth| {
        let at = nth * BYTES as u64 % (IN_PLACE_BYTES - BYTES as u64);
        file.write_all_at(&[8; BYTES], at).and_then(|()| file.sync_data())
    });
    std::fs::remove_file(&path)?;
    let (appended, in_place) = (appended?, in_place?);
    Ok(Rates { appended, best: appended.max(in_place) })
}

/// How often a second something can be done.
fn repeat(time: Duration, mut act: impl FnMut(u64) -> std::io::Result<()>) -> std::io::Result<f64> {
    let start = Instant::now();
    let mut done = 0_u32;
    while start.elapsed() < time {
        act(u64::from(done))?;
        done += 1;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let rates = rates(dir.path(), Duration::from_millis(20)).unwrap();
        assert!(rates.appended > 0.0 && rates.best >= rates.appended, "{rates:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
