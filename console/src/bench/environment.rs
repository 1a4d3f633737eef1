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
    fn fields_of_proc_files() {
        assert_eq!(field("a\t: 1\nmodel name\t: CPU X\n", "model name").as_deref(), Some("CPU X"));
        assert_eq!(field("MemTotal:       2048 kB\n", "MemTotal").as_deref(), Some("2048 kB"));
    }
}
