//! The machine that the figures were measured on.

use std::path::Path;

use super::document::Environment;

/// Looks around. What the system does not tell is called unknown.
pub(super) fn look(data_dir: &Path) -> Environment {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    Environment {
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".into()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mib: field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib / 1_024),
        file_system: file_system(&read("/proc/mounts"), data_dir),
        system: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        debug_build: cfg!(debug_assertions),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Processor time of the whole machine since it started, in the system's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessorTime {
    /// All of it, idle time too.
    all: u64,
    /// What the host of a virtual machine gave to others although this one had work.
    stolen: u64,
}

impl ProcessorTime {
    /// As the system counts it; none where it does not.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, waiting, two kinds of interrupts, stolen. Guests, which follow, are in user.
    fn parse(text: &str) -> Option<Self> {
        let words = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks = words.take(8).map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        Some(Self { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
    }

    /// The share that was stolen from `before` to now.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub(super) fn stolen_since(self, before: Self) -> f64 {
        let stolen = self.stolen.saturating_sub(before.stolen);
        stolen as f64 / self.all.saturating_sub(before.all).max(1) as f64
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The type of the file system whose mount point is the longest prefix of the path.
fn file_system(mounts: &str, path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
            path.starts_with(point).then_some((point.len(), kind))
        })
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_decides() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/nowhere/x")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/tmp/nowhere")), "tmpfs");
        assert_eq!(file_system("", Path::new("/nowhere")), "unknown");
    }

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        let before = ProcessorTime::parse("cpu  100 0 50 800 0 0 0 50 9 9\ncpu0 1 2\n").unwrap();
        let after = ProcessorTime::parse("cpu  150 0 60 820 0 0 0 70 9 9\n").unwrap();
        assert!((after.stolen_since(before) - 0.2).abs() < f64::EPSILON);
        assert_eq!(ProcessorTime::parse("cpu  100 0 50"), None, "an old kernel");
        assert_eq!(ProcessorTime::parse("intr 5"), None);
    }

    #[test]
    fn fields_of_proc_files() {
        assert_eq!(field("a\t: 1\nmodel name\t: CPU X\n", "model name").as_deref(), Some("CPU X"));
        assert_eq!(field("MemTotal:       2048 kB\n", "MemTotal").as_deref(), Some("2048 kB"));
    }
}
