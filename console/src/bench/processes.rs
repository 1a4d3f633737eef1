//! What the measured processes take of the machine: processor time, memory, and bytes handed to the disk, as the system counts them in `/proc`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Ticks of a second in `/proc/PID/stat`. The kernel converts to this for programs, on every architecture that Holm runs on, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// What one process took during a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Which process.
    pub name: String,
    /// Processor time for each second of the step: 1 is one core.
    pub cores: f64,
    /// Memory that was really there at the end, in KiB.
    pub resident_kib: u64,
    /// Bytes that it handed to the disk.
    pub written_bytes: u64,
}

/// Totals of one process since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    ticks: u64,
    written_bytes: u64,
    resident_kib: u64,
}

impl Process {
    pub(super) fn new(name: impl Into<String>, pid: u32) -> Self {
        Self { name: name.into(), pid }
    }

    /// Its totals by now; none where the system does not tell, or the process is gone.
    pub(super) fn totals(&self) -> Option<Totals> {
        let read = |file| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid));
        Some(Totals {
            ticks: ticks(&read("stat").ok()?)?,
            // Only for processes of one's own; without it the rest is still worth telling.
            written_bytes: read("io")
                .ok()
                .and_then(|text| number(&text, "write_bytes:"))
                .unwrap_or(0),
            resident_kib: number(&read("status").ok()?, "VmRSS:")?,
        })
    }

    /// What it took between two totals that are so far apart.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub(super) fn used(&self, from: Totals, to: Totals, time: Duration) -> ProcessUse {
        let seconds = to.ticks.saturating_sub(from.ticks) as f64 / TICKS_PER_SECOND;
        ProcessUse {
            name: self.name.clone(),
            cores: seconds / time.as_secs_f64().max(f64::EPSILON),
            resident_kib: to.resident_kib,
            written_bytes: to.written_bytes.saturating_sub(from.written_bytes),
        }
    }
}

impl Totals {
    pub(super) fn resident_kib(self) -> u64 {
        self.resident_kib
    }
}

/// User and system time of `/proc/PID/stat`. The second field is the program's name in brackets and may hold anything, so it is counted from its end.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_counted_from_the_end_of_the_name() {
        let stat = "42 (ho) lm 7) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (holm) S 1 42"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn use_is_the_difference_of_totals_over_the_time() {
        let process = Process::new("holm-1", 1);
        let from = Totals { ticks: 100, written_bytes: 1_000, resident_kib: 5 };
        let to = Totals { ticks: 350, written_bytes: 5_000, resident_kib: 7 };
        let used = process.used(from, to, Duration::from_secs(10));
        assert!((used.cores - 0.25).abs() < 1e-9, "{used:?}");
        assert_eq!((used.written_bytes, used.resident_kib), (4_000, 7));
        assert_eq!(number("read_bytes: 1\nwrite_bytes: 17\n", "write_bytes:"), Some(17));
    }

    #[test]
    fn this_process_is_counted_and_one_that_is_gone_is_not() {
        assert!(Process::new("here", std::process::id()).totals().unwrap().resident_kib > 0);
        assert_eq!(Process::new("gone", u32::MAX).totals(), None);
    }
}
