//! What the disk itself can do: append to a plain file and `fdatasync`, one after the other.
#![expect(clippy::disallowed_methods, reason = "this measures time")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one command of the bench stores, roughly.
const BYTES: usize = 128;

/// Appends with `fdatasync` per second to a file in `dir`, measured for about `time`.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn rate(dir: &Path, time: Duration) -> std::io::Result<f64> {
    let path = dir.join("fsync-probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < time {
        file.write_all(&[7; BYTES])?;
        file.sync_data()?;
        calls += 1;
    }
    let took = start.elapsed();
    std::fs::remove_file(&path)?;
    Ok(f64::from(calls) / took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(rate(dir.path(), Duration::from_millis(20)).unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
