//! The side file: who this data directory is, and what must be in it.
//!
//! A damaged sled file can open silently empty. So this small text file, written by rename and fsynced with its directory, says how far each
//! log must reach. It is written before the database is created, so a database without it is a directory that was not restored as a whole.
//! It lags behind the log; the tail file covers the time between.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holm_core::NodeId;

use super::error::StoreError;
use super::medium::Medium;
use super::{LogId, Membership};

/// The name of the side file in the data directory.
pub(super) const SIDE_FILE_NAME: &str = "holm.identity";

const FIRST_LINE: &str = "holm data directory, format 1";

/// The entries of a log that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// How far a log must reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Its entries; none when it is empty.
    pub(super) extent: Option<Extent>,
    /// The version of its records; zero when there are none.
    pub(super) records: u64,
}

/// What the side file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SideFile {
    pub(super) directory: u128,
    pub(super) generation: u64,
    /// Raised when a log gets shorter; a tail file of an older epoch says nothing.
    pub(super) epoch: u64,
    pub(super) membership: Option<Membership>,
    pub(super) logs: BTreeMap<LogId, Reach>,
}

impl SideFile {
    pub(super) fn new(directory: u128) -> Self {
        Self { directory, generation: 0, epoch: 0, membership: None, logs: BTreeMap::new() }
    }

    /// The side file of a directory; none when there is none.
    pub(super) fn read(medium: &dyn Medium) -> Result<Option<Self>, StoreError> {
        let dir = medium.dir();
        let text = medium.read(SIDE_FILE_NAME);
        let text = text.map_err(|error| StoreError::io(dir, "reading the side file", &error))?;
        let Some(text) = text else { return Ok(None) };
        let path = dir.join(SIDE_FILE_NAME);
        let parsed =
            str::from_utf8(&text).map_err(|_| "it is not text".to_owned()).and_then(Self::parse);
        parsed.map(Some).map_err(|reason| StoreError::SideFileDamaged { path, reason })
    }

    /// Writes it durably in the place of the old one.
    pub(super) fn write(&self, medium: &dyn Medium) -> Result<(), StoreError> {
        let written = medium.replace(SIDE_FILE_NAME, self.text().as_bytes());
        written.map_err(|error| StoreError::io(medium.dir(), "writing the side file", &error))
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(256 + self.logs.len() * 40);
        let _ = writeln!(text, "{FIRST_LINE}");
        let _ = writeln!(text, "directory {:032x}", self.directory);
        let _ = writeln!(text, "generation {}", self.generation);
        let _ = writeln!(text, "epoch {}", self.epoch);
        if let Some(Membership { cluster, node }) = self.membership {
            let _ = writeln!(text, "cluster {cluster:032x} node {node}");
        }
        for (log, reach) in &self.logs {
            let _ = write!(text, "log {} records {}", log.0, reach.records);
            if let Some(Extent { first, last }) = reach.extent {
                let _ = write!(text, " first {first} last {last}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "crc32c {:08x}", crc32c::crc32c(text.as_bytes()));
        text
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let first_line = text.lines().next().unwrap_or_default();
        if first_line != FIRST_LINE {
            return Err(format!("its first line is `{first_line}`, not `{FIRST_LINE}`"));
        }
        let checksum_at = text.rfind("crc32c ").ok_or("it has no checksum")?;
        let (body, last_line) = text.split_at(checksum_at);
        if last_line != format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err("its checksum does not match".to_owned());
        }
        let mut side = Self::new(0);
        for line in body.lines().skip(1) {
            side.take_line(line).ok_or_else(|| format!("it has the line `{line}`"))?;
        }
        Ok(side)
    }

    fn take_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["directory", id] => self.directory = u128::from_str_radix(id, 16).ok()?,
            ["generation", number] => self.generation = number.parse().ok()?,
            ["epoch", number] => self.epoch = number.parse().ok()?,
            ["cluster", cluster, "node", node] => {
                let cluster = u128::from_str_radix(cluster, 16).ok()?;
                self.membership = Some(Membership { cluster, node: NodeId(node.parse().ok()?) });
            }
            ["log", log, "records", records, ref extent @ ..] => {
                let extent = match *extent {
                    [] => None,
                    ["first", first, "last", last] => {
                        Some(Extent { first: first.parse().ok()?, last: last.parse().ok()? })
                    }
                    _ => return None,
                };
                let reach = Reach { extent, records: records.parse().ok()? };
                self.logs.insert(LogId(log.parse().ok()?), reach);
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> SideFile {
        let mut side = SideFile::new(0xabc);
        side.generation = 3;
        side.epoch = 4;
        side.membership = Some(Membership { cluster: 7, node: NodeId(2) });
        let extent = Some(Extent { first: 1, last: 12 });
        side.logs.insert(LogId(0), Reach { extent, records: 2 });
        side.logs.insert(LogId::CLUSTER, Reach { extent: None, records: 5 });
        side
    }

    #[test]
    fn it_reads_back_and_every_changed_byte_is_seen() {
        let text = example().text();
        assert_eq!(SideFile::parse(&text), Ok(example()));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let read = str::from_utf8(&bytes).map(SideFile::parse);
            assert!(!matches!(read, Ok(Ok(_))), "byte {at}");
        }
        assert!(SideFile::parse(&text[..text.len() - 1]).is_err());
        assert!(SideFile::parse("").is_err());
    }

    /// A golden file: format 1 stays readable.
    #[test]
    fn format_1_stays_readable() {
        let stored = "holm data directory, format 1\n\
            directory 00000000000000000000000000000abc\n\
            generation 3\nepoch 4\n\
            cluster 00000000000000000000000000000007 node 2\n\
            log 0 records 2 first 1 last 12\nlog 4294967295 records 5\n\
            crc32c ";
        let text =
            format!("{stored}{:08x}\n", crc32c::crc32c(&stored.as_bytes()[..stored.len() - 7]));
        assert_eq!(SideFile::parse(&text), Ok(example()));
        assert_eq!(example().text(), text);
    }
}
