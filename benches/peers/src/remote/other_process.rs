//! The other process: this program once more. It tells where it is in its first line, and serves until its standard input ends, which it does when the process
//! that asks ends in whatever way.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::work::Plan;

pub(super) struct OtherProcess {
    child: Child,
    /// Its first line.
    pub(super) told: String,
}

impl OtherProcess {
    /// Starts it and waits until it tells where it is.
    pub(super) fn start(name: &str, plan: &Plan) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut child = Command::new(program)
            .args(["--remote", "--serve", name])
            .args(plan.as_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut told = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut told)?;
        }
        if told.is_empty() {
            bail!("the other process ended before it served: {}", child.wait()?);
        }
        Ok(Self { child, told: told.trim_end().to_owned() })
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself; its files are gone before whoever comes next begins.
        _ = self.child.wait();
    }
}

/// Tells the process that asks where this one is, and returns when that has gone.
pub(super) async fn tell(place: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{place}")?;
    stdout.flush()?;
    let wait = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(wait).await??;
    Ok(())
}
