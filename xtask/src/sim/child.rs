//! One seed in one process, and what it printed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, bail};
use serde_json::Value;

/// One simulated world: the seed that it grows from, and how long faults happen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct World {
    pub(super) seed: u64,
    /// Seconds; none: the usual time.
    pub(super) seconds: Option<u64>,
}

impl FromStr for World {
    type Err = anyhow::Error;

    /// As on the command line: `40437`, or `40437 --seconds 5`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let number = |word: &str| word.parse().with_context(|| format!("`{word}` is no number"));
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [seed] => Ok(Self { seed: number(seed)?, seconds: None }),
            [seed, "--seconds", seconds] => {
                Ok(Self { seed: number(seed)?, seconds: Some(number(seconds)?) })
            }
            _ => bail!("`{text}` is no seed, nor `SEED --seconds N`"),
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        self.seconds.map_or(Ok(()), |seconds| write!(f, " --seconds {seconds}"))
    }
}

/// How a world is run.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) program: PathBuf,
    pub(super) traces: PathBuf,
}

/// What a run told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) world: World,
    pub(super) holds: bool,
    pub(super) summary: Value,
}

impl Child {
    pub(super) fn trace_of(&self, world: World, run: &str) -> PathBuf {
        self.traces.join(format!("{}-{run}.txt", world.seed))
    }

    /// Runs one world to its end. A process that ends without a word is a failed run too.
    pub(super) fn run(&self, world: World, run: &str) -> anyhow::Result<Told> {
        let mut command = Command::new(&self.program);
        command.args(["--seed", &world.seed.to_string(), "--trace"]);
        command.arg(self.trace_of(world, run));
        if let Some(seconds) = world.seconds {
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
            serde_json::json!({ "seed": world.seed, "holds": false, "problems": [problem] })
        });
        let holds = output.status.success() && summary["holds"] == true;
        Ok(Told { world, holds, summary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_written_as_it_is_replayed() {
        for text in ["7", "40437 --seconds 5"] {
            assert_eq!(text.parse::<World>().unwrap().to_string(), text);
        }
        for text in ["", "x", "7 5", "7 --seconds", "7 --seconds x"] {
            assert!(text.parse::<World>().is_err(), "{text}");
        }
    }
}
