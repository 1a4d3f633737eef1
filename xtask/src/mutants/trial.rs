//! One trial: a suite is built and run in the copy of the tree, and what cargo said is judged.

use std::fmt;
use std::process::{Command, Output};

use anyhow::Context as _;

use super::scratch::Scratch;

/// What `timeout` exits with when the time was up: on its first signal, and when the second one was needed.
const TIME_WAS_UP: [i32; 2] = [124, 137];

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These tests failed.
    Caught(Vec<String>),
    /// The suite passed all the same.
    Missed,
    /// No test failed and none passed: it hung, so nothing was said.
    TimedOut { limit_s: u64 },
    /// The test process ended without a word, by an abort for instance.
    Died(String),
    /// The suite ran no test at all.
    NothingRan,
    /// The suite fails on the tree as it is and can catch nothing.
    SuiteFails,
    /// The patch does not fit the tree.
    DoesNotApply,
    /// The compiler's first error.
    DoesNotCompile(String),
}

impl Verdict {
    /// Only a test that failed counts: a hang or a compiler's error says nothing about the suite.
    pub(crate) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }
}

/// Builds and runs `cargo test` with these arguments.
pub(crate) fn run(scratch: &Scratch, suite: &[String], limit_s: u64) -> anyhow::Result<Verdict> {
    let build = output(command(scratch, "cargo", &[]).args(["test", "--no-run"]).args(suite))?;
    if !build.status.success() {
        return Ok(Verdict::DoesNotCompile(first_error(&build)));
    }
    let limit = limit_s.to_string();
    let mut run = command(scratch, "timeout", &["--kill-after=10", &limit, "cargo", "test"]);
    let output = output(run.arg("--no-fail-fast").args(suite))?;
    Ok(judge(&output, limit_s))
}

fn command(scratch: &Scratch, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(scratch.tree());
    command.env("CARGO_TARGET_DIR", &scratch.build).env("CARGO_TERM_COLOR", "never");
    // Set by the cargo that started this program, for this program.
    for inherited in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUST_BACKTRACE"] {
        command.env_remove(inherited);
    }
    command
}

fn output(command: &mut Command) -> anyhow::Result<Output> {
    command.output().with_context(|| format!("{command:?} cannot be started"))
}

fn judge(output: &Output, limit_s: u64) -> Verdict {
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = failures(&said);
    if !failed.is_empty() {
        return Verdict::Caught(failed);
    }
    if output.status.code().is_some_and(|code| TIME_WAS_UP.contains(&code)) {
        return Verdict::TimedOut { limit_s };
    }
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error.lines().rfind(|line| !line.trim().is_empty());
        return Verdict::Died(last.unwrap_or("nothing was said").trim().to_owned());
    }
    let ran = said.lines().any(|line| {
        line.starts_with("test result: ok. ") && !line.starts_with("test result: ok. 0 passed")
    });
    if ran { Verdict::Missed } else { Verdict::NothingRan }
}

/// The names that the harness lists under its second `failures:`, or says one by one.
fn failures(said: &str) -> Vec<String> {
    let mut failed: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(|name| name.trim_end_matches(" - should panic").to_owned())
        .collect();
    let listed = said.lines().skip_while(|line| *line != "failures:").filter_map(|line| {
        let name = line.strip_prefix("    ")?;
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
        (is_name && !name.is_empty()).then(|| name.to_owned())
    });
    failed.extend(listed);
    failed.sort();
    failed.dedup();
    failed
}

fn first_error(build: &Output) -> String {
    let said = String::from_utf8_lossy(&build.stderr);
    let error = said.lines().find(|line| line.starts_with("error"));
    error.unwrap_or("cargo failed without an error").to_owned()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(by) => write!(f, "caught by {}", by.join(", ")),
            Self::Missed => f.write_str("MISSED: the suite passes with it"),
            Self::TimedOut { limit_s } => write!(f, "NO VERDICT after {limit_s} s"),
            Self::Died(last) => write!(f, "NO VERDICT: no test failed, but cargo did: {last}"),
            Self::NothingRan => f.write_str("NO VERDICT: the suite runs no test"),
            Self::SuiteFails => f.write_str("NO VERDICT: the suite fails without it"),
            Self::DoesNotApply => f.write_str("DOES NOT APPLY"),
            Self::DoesNotCompile(error) => write!(f, "DOES NOT COMPILE: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn judged(code: i32, stdout: &str) -> Verdict {
        let status = std::process::ExitStatus::from_raw(code << 8);
        judge(&Output { status, stdout: stdout.into(), stderr: b"the end\n".into() }, 9)
    }

    #[test]
    fn a_failed_test_catches_and_is_named_once() {
        let said = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\nfailures:\n\n\
            ---- a::c stdout ----\n    left: 1\n\nfailures:\n    a::c\n\n\
            test result: FAILED. 1 passed; 1 failed;\n";
        assert_eq!(judged(101, said), Verdict::Caught(vec!["a::c".to_owned()]));
    }

    #[test]
    fn what_says_nothing_catches_nothing() {
        let passed = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed;\n";
        assert_eq!(judged(0, passed), Verdict::Missed);
        assert_eq!(
            judged(0, "running 0 tests\n\ntest result: ok. 0 passed; 0 failed;\n"),
            Verdict::NothingRan
        );
        assert_eq!(judged(124, "running 1 test\n"), Verdict::TimedOut { limit_s: 9 });
        assert_eq!(judged(101, "running 1 test\n"), Verdict::Died("the end".to_owned()));
        for verdict in [Verdict::Missed, Verdict::NothingRan, Verdict::SuiteFails] {
            assert!(!verdict.is_caught());
        }
    }
}
