//! A wall clock for each node that can be set: `libfaketime` is loaded into the process by a small script that starts it.
//!
//! Only the time of day is faked. The clock that measures durations goes on, as it does when an operator or a time server sets the time of a machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where distributions put the library, the form for programs with threads.
const PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The clocks of all nodes.
#[derive(Debug)]
pub(crate) struct Clocks {
    dir: PathBuf,
}

impl Clocks {
    /// Why clocks cannot be set here. It needs no root.
    pub(crate) fn lacks() -> Option<String> {
        library().is_none().then(|| "`libfaketime` is not installed".to_owned())
    }

    /// Clocks that show the right time, and the script that starts a node under its own.
    pub(crate) fn make(below: &Path, nodes: u32) -> anyhow::Result<(Self, PathBuf)> {
        let clocks = Self { dir: below.join("clocks") };
        std::fs::create_dir_all(&clocks.dir)?;
        for number in 1..=nodes {
            clocks.set(&format!("holm-{number}"), "+0")?;
        }
        let script = clocks.dir.join("node");
        let library = library().context("`libfaketime` is not installed")?;
        let program = std::env::current_exe()?;
        let text = format!(
            "#!/bin/sh\nexport LD_PRELOAD='{library}' DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1\n\
             export FAKETIME_TIMESTAMP_FILE='{}'/\"$HOLM_NODE__NAME\"\nexec '{}' node\n",
            clocks.dir.display(),
            program.display()
        );
        std::fs::write(&script, text)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        Ok((clocks, script))
    }

    /// Sets a node's clock, relative to the true time, as in `+1h`. The node sees it within a second.
    pub(crate) fn set(&self, node: &str, offset: &str) -> anyhow::Result<()> {
        // By rename, so that nobody reads half of it.
        let fresh = self.dir.join(format!("{node}.new"));
        std::fs::write(&fresh, format!("{offset}\n"))?;
        std::fs::rename(fresh, self.dir.join(node))?;
        Ok(())
    }
}

fn library() -> Option<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).exists())
}
