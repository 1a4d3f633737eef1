//! One seed in one process, and what it printed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

/// How a seed is run.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) program: PathBuf,
    pub(super) traces: PathBuf,
    pub(super) seconds: Option<u64>,
}

/// What a run told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) seed: u64,
    pub(super) holds: bool,
    pub(super) summary: Value,
}

impl Child {
    pub(super) fn trace_of(&self, seed: u64, run: &str) -> PathBuf {
        self.traces.join(format!("{seed}-{run}.txt"))
    }

    /// Runs one seed to its end. A process that ends without a word is a failed run too.
    pub(super) fn run(&self, seed: u64, run: &str) -> anyhow::Result<Told> {
        let mut command = Command::new(&self.program);
        command.args(["--seed", &seed.to_string(), "--trace"]).arg(self.trace_of(seed, run));
        if let Some(seconds) = self.seconds {
            command.args(["--seconds", &seconds.to_string()]);
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let summary = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        let summary: Value = summary.unwrap_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            let problem = format!("it ended with {} and said: {errors}", output.status);
            serde_json::json!({ "seed": seed, "holds": false, "problems": [problem] })
        });
        let holds = output.status.success() && summary["holds"] == true;
        Ok(Told { seed, holds, summary })
    }
}
