//! What is measured, and the size of this process.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The figures of one contender.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Questions answered in a second.
    pub(crate) asks_per_second: f64,
    /// Memory of this process that one more idle entity takes, its state of 8 bytes included.
    pub(crate) bytes_per_entity: u64,
}

/// What `make` adds to the memory of this process, divided by `count`. What was made is given back, so that it is still there when it is measured.
pub(crate) async fn bytes_each<T>(
    count: usize,
    make: impl AsyncFnOnce() -> T,
) -> anyhow::Result<(u64, T)> {
    let before = resident_bytes()?;
    let made = make().await;
    let grown = resident_bytes()?.saturating_sub(before);
    Ok((grown / count.max(1) as u64, made))
}

fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(number.context("the kernel tells no VmRSS")? * 1024)
}
