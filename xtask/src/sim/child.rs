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
    /// The edition of the worlds; none: the newest.
    pub(super) edition: Option<u64>,
    /// Seconds; none: the usual time.
    pub(super) seconds: Option<u64>,
}

impl FromStr for World {
    type Err = anyhow::Error;

    /// As on the command line: `40437`, or `40437 --edition 1 --seconds 5`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let number = |word: &str| word.parse().with_context(|| format!("`{word}` is no number"));
        let mut words = text.split_whitespace();
        let seed = number(words.next().context("there is no seed")?)?;
        let mut world = Self { seed, edition: None, seconds: None };
        while let Some(word) = words.next() {
            let value = number(words.next().with_context(|| format!("{word} needs a value"))?)?;
            match word {
                "--edition" => world.edition = Some(value),
                "--seconds" => world.seconds = Some(value),
                _ => bail!("`{text}` is not `SEED [--edition N] [--seconds N]`"),
            }
        }
        Ok(world)
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        self.edition.map_or(Ok(()), |edition| write!(f, " --edition {edition}"))?;
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
    /// The file of a run's trace: every world has one of its own.
    pub(super) fn trace_of(&self, world: World, run: &str) -> PathBuf {
        let world = world.to_string().replace(" --", "-").replace(' ', "-");
        self.traces.join(format!("{world}-{run}.txt"))
    }

    /// Runs one world to its end. A process that ends without a word is a failed run too.
    pub(super) fn run(&self, world: World, run: &str) -> anyhow::Result<Told> {
        let mut command = Command::new(&self.program);
        command.args(["--seed", &world.seed.to_string(), "--trace"]);
        command.arg(self.trace_of(world, run));
        if let Some(edition) = world.edition {
            command.args(["--edition", &edition.to_string()]);
        }
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
    fn every_world_has_a_trace_of_its_own() {
        let child = Child { program: PathBuf::new(), traces: "traces".into() };
        let traces = ["7", "7 --edition 1", "7 --seconds 1", "7 --edition 1 --seconds 5"]
            .map(|text| child.trace_of(text.parse().unwrap(), "run"));
        let names = ["7", "7-edition-1", "7-seconds-1", "7-edition-1-seconds-5"];
        assert_eq!(traces, names.map(|name| PathBuf::from(format!("traces/{name}-run.txt"))));
    }

    #[test]
    fn a_world_is_written_as_it_is_replayed() {
        for text in ["7", "7 --edition 1", "40437 --edition 1 --seconds 5"] {
            assert_eq!(text.parse::<World>().unwrap().to_string(), text);
        }
        for text in ["", "x", "7 5", "7 --seconds", "7 --seconds x", "7 --edition"] {
            assert!(text.parse::<World>().is_err(), "{text}");
        }
    }
}
