//! One child process: how it is started, what it says, how it ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use holm::{Entropy as _, OsEntropy};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;

use super::tether;

/// Longest line of a child that is looked at; longer ones are cut. A ready line has some two hundred bytes.
const LINE_BYTES: u64 = 64 * 1024;

/// What a node prints on its standard output when it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ReadyLine {
    pub(super) name: String,
    #[serde(default)]
    pub(super) id: u64,
    pub(super) http: String,
    #[serde(default)]
    pub(super) peer: Option<String>,
}

/// What becomes known about a child. `pid` tells one run of a node from the next.
#[derive(Debug)]
pub(super) enum ChildEvent {
    /// It printed a line on its standard output.
    Line { name: String, pid: u32, line: String },
    /// It ended and was reaped.
    Ended { name: String, pid: u32, status: std::io::Result<ExitStatus> },
}

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) log: PathBuf,
}

/// Starts a child tied to this process. Its standard error and all it prints go to its log; each line that it prints comes as an event, too.
///
/// # Errors
/// When the log cannot be opened or the program cannot be started.
pub(super) fn start(
    launch: &Launch,
    events: mpsc::UnboundedSender<ChildEvent>,
) -> std::io::Result<u32> {
    let log = open_log(&launch.log)?;
    let mut command = tether::command(launch.program.as_os_str(), &launch.args)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
    // Variables of whoever calls `holm dev` must not reach the nodes: HOLM_DATA_DIR would be the same for all of them.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HOLM_")) {
            command.env_remove(name);
        }
    }
    command.envs(launch.variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn()?;
    let pid = child.id().ok_or_else(|| std::io::Error::other("the process ended at once"))?;
    let name = launch.name.clone();
    if let Some(output) = child.stdout.take() {
        let (name, events) = (name.clone(), events.clone());
        tokio::spawn(async move { forward_lines(&name, pid, output, log, &events).await });
    }
    tokio::spawn(async move {
        let status = child.wait().await;
        let _ = events.send(ChildEvent::Ended { name, pid, status });
    });
    Ok(pid)
}

/// Reads to the end whatever happens: a full pipe would block the child.
async fn forward_lines(
    name: &str,
    pid: u32,
    output: ChildStdout,
    mut log: File,
    events: &mpsc::UnboundedSender<ChildEvent>,
) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = tokio::io::AsyncReadExt::take(&mut reader, LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return;
        }
        if name != super::supervisor::LOAD {
            // A handful of lines in a node's life: not worth a thread.
            let _ = log.write_all(&line);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if events.send(ChildEvent::Line { name: name.to_owned(), pid, line }).is_err() {
            return;
        }
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Sends a signal to the whole process group of a child.
///
/// # Errors
/// When there is no such group (any more).
pub(crate) fn signal_group(pid: u32, signal: Signal) -> std::io::Result<()> {
    killpg(as_pid(pid)?, signal).map_err(Into::into)
}

/// The next random number for ports and directory names.
pub(crate) fn random() -> u64 {
    OsEntropy.next_u64()
}

/// True when a process with this id exists.
#[must_use]
pub(crate) fn is_alive(pid: u32) -> bool {
    pid != 0 && as_pid(pid).is_ok_and(|pid| kill(pid, None).is_ok())
}

fn as_pid(pid: u32) -> std::io::Result<Pid> {
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(std::io::Error::other(format!("{pid} is no process id"))),
    }
}
