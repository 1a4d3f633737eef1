//! Space on the disk of a data directory: when little of it is left, and when that is said. Pure; [`crate::Store::space`] measures it.

use std::fmt;
use std::time::Duration;

/// Space on a disk, for whoever is not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes that can be written in all, those that are taken included.
    pub usable_bytes: u64,
}

/// When a disk counts as nearly full. Whichever limit is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// Less than this part of the disk is free, in hundredths. 0 switches it off.
    pub free_percent: u8,
    /// Less than so many bytes are free. 0 switches it off.
    pub free_bytes: u64,
    /// How often a node looks.
    pub look_every: Duration,
}

impl Default for DiskLimits {
    /// 10 %, or 1 GiB: at 100 MB/s of load that is ten seconds, at 1 MB/s a quarter of an hour. Every 10 s.
    fn default() -> Self {
        Self { free_percent: 10, free_bytes: 1 << 30, look_every: Duration::from_secs(10) }
    }
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceWord {
    /// Less is free than there should be.
    NearlyFull,
    /// More is free again: a quarter more than the limit, so that a disk at its limit does not say both in turns.
    FreeAgain,
}

/// What was told of one disk so far.
#[derive(Debug, Default)]
pub struct SpaceWatch {
    told: bool,
}

impl DiskSpace {
    /// The free part in hundredths, rounded down.
    #[must_use]
    pub fn free_percent(self) -> u8 {
        let percent = u128::from(self.free_bytes) * 100 / u128::from(self.usable_bytes.max(1));
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

impl fmt::Display for DiskSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes >> 20;
        let (free, usable) = (mebibytes(self.free_bytes), mebibytes(self.usable_bytes));
        write!(f, "{free} MiB of {usable} MiB free ({} %)", self.free_percent())
    }
}

impl DiskLimits {
    /// Whether less is free than `quarters` fourths of the limits.
    fn falls_below(&self, space: DiskSpace, quarters: u128) -> bool {
        let (free, usable) = (u128::from(space.free_bytes), u128::from(space.usable_bytes));
        free * 400 < usable * u128::from(self.free_percent) * quarters
            || free * 4 < u128::from(self.free_bytes) * quarters
    }
}

impl SpaceWatch {
    /// So much space there is now.
    pub fn look(&mut self, space: DiskSpace, limits: &DiskLimits) -> Option<SpaceWord> {
        let told = self.told;
        self.told = limits.falls_below(space, if told { 5 } else { 4 });
        match (told, self.told) {
            (false, true) => Some(SpaceWord::NearlyFull),
            (true, false) => Some(SpaceWord::FreeAgain),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(limits: &DiskLimits, usable: u64, frees: &[u64]) -> Vec<Option<SpaceWord>> {
        let mut watch = SpaceWatch::default();
        let space = |free| DiskSpace { free_bytes: free, usable_bytes: usable };
        frees.iter().map(|free| watch.look(space(*free), limits)).collect()
    }

    /// Promise G7: told once, and once when there is space again; at the limit it does not flutter.
    #[test]
    fn a_disk_is_told_once_for_each_time() {
        let limits = DiskLimits { free_percent: 10, free_bytes: 0, ..DiskLimits::default() };
        let (full, free) = (Some(SpaceWord::NearlyFull), Some(SpaceWord::FreeAgain));
        assert_eq!(
            looks(&limits, 1_000, &[100, 99, 0, 101, 124, 125, 110, 99]),
            [None, full, None, None, None, free, None, full]
        );
    }

    #[test]
    fn either_limit_counts_and_each_can_be_switched_off() {
        let gibibyte = 1 << 30;
        let limits = DiskLimits::default();
        assert_eq!(
            looks(&limits, 1_000 * gibibyte, &[99 * gibibyte])[0],
            Some(SpaceWord::NearlyFull)
        );
        assert_eq!(looks(&limits, 8 * gibibyte, &[gibibyte - 1])[0], Some(SpaceWord::NearlyFull));
        assert_eq!(looks(&limits, 8 * gibibyte, &[gibibyte])[0], None);
        let off = DiskLimits { free_percent: 0, free_bytes: 0, ..limits };
        assert_eq!(looks(&off, 0, &[0])[0], None);
        assert_eq!(looks(&limits, u64::MAX, &[u64::MAX])[0], None);
    }

    #[test]
    fn it_reads_as_a_person_would_say_it() {
        let space = DiskSpace { free_bytes: 312 << 20, usable_bytes: 10 << 30 };
        assert_eq!(space.to_string(), "312 MiB of 10240 MiB free (3 %)");
    }
}
