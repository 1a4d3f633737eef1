//! System calls of a running node that fail or take long: `strace` is attached to the process for a while.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::tools;

/// How long it may take until the call that is to fail has been made: under load a node syncs many times a second.
const PATIENCE: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What `strace` does to `fdatasync`, the call that makes a node's log durable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Injection {
    /// The next one fails.
    FailOnce,
    /// Each takes this much longer.
    Delay(Duration),
}

/// An attached `strace`. Dropping it detaches.
#[derive(Debug)]
pub(crate) struct Attached {
    strace: Child,
    log: PathBuf,
}

pub(crate) fn lacks() -> Option<String> {
    tools::lacks(&["strace"])
}

impl Attached {
    /// Attaches to every thread of a process.
    pub(crate) fn to(pid: u32, injection: Injection, log: &Path) -> anyhow::Result<Self> {
        let inject = match injection {
            Injection::FailOnce => "inject=fdatasync:error=EIO:when=1".to_owned(),
            Injection::Delay(delay) => format!("inject=fdatasync:delay_exit={}", delay.as_micros()),
        };
        let path = tools::find("strace").context("`strace` is not installed")?;
        let _ = std::fs::remove_file(log);
        let strace = Command::new(path)
            .args(["-f", "-ttt", "-e", "trace=fdatasync", "-e", &inject, "-o"])
            .arg(log)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`strace` cannot be started")?;
        Ok(Self { strace, log: log.to_owned() })
    }

    /// Waits until a call was tampered with; when that was, in microseconds since the epoch.
    pub(crate) async fn injected(&mut self) -> anyhow::Result<u64> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(at_us) = text
                .lines()
                .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"))
                .find_map(instant)
            {
                return Ok(at_us);
            }
            if let Some(status) = self.strace.try_wait()? {
                bail!("strace ended before it did anything ({status})");
            }
            if Instant::now() >= end {
                bail!("no call was made within {} s", PATIENCE.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.strace.id()) {
            // It detaches and lets the process go on.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.strace.wait();
    }
}

/// The second word of a line is the time, in seconds since the epoch with six digits behind the point.
fn instant(line: &str) -> Option<u64> {
    let (seconds, micros) = line.split_whitespace().nth(1)?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_injection_is_read() {
        let line = "4711  1764108000.123456 fdatasync(12) = -1 EIO (Input/output error) (INJECTED)";
        assert_eq!(instant(line), Some(1_764_108_000_123_456));
        assert_eq!(instant("strace: Process 4711 attached"), None);
    }
}
