//! Who holds a port. Linux tells it in `/proc`; elsewhere, and for the processes of others, nobody knows.

use std::fmt;
use std::path::Path;

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dev) struct Holder {
    pub(in crate::dev) pid: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// Who listens on this port of whichever local address.
pub(super) fn of(port: u16) -> Option<Holder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|row| listening_inode(row, port))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_open(*pid, Path::new(&socket)))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().to_owned() })
}

/// Whether a descriptor of the process is a link to this; false as well where nobody may look.
fn has_open(pid: u32, target: &Path) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|descriptors| {
        let mut targets = descriptors.flatten().filter_map(|it| std::fs::read_link(it.path()).ok());
        targets.any(|open| open == target)
    })
}

/// The socket of a row, when it listens on the port: `0: 0100007F:1B9E 00000000:0000 0A … uid timeout inode`.
fn listening_inode(row: &str, port: u16) -> Option<String> {
    let fields: Vec<_> = row.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == "0A";
    let inode = fields.get(9)?;
    (listens && u16::from_str_radix(local, 16) == Ok(port)).then(|| (*inode).to_owned())
}
