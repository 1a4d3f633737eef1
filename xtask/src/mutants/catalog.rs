//! The mutants as they stand in their folder: a patch each, headed by what it breaks and who must notice.
//!
//! ```text
//! Promise: G1
//! Breaks: a group is acknowledged without an fdatasync
//! Suite: cargo test -p holm-persistence --test it real_fsync
//!
//! diff --git a/persistence/src/... b/persistence/src/...
//! ```

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::Context as _;

/// How a suite begins: what follows are the arguments of `cargo test`.
const SUITE_COMMAND: &str = "cargo test ";

/// One bug to plant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// The name of its file, without the ending.
    pub(crate) name: String,
    /// The number of the promise or the rule that it breaks.
    pub(crate) promise: String,
    /// What is wrong with it, in a sentence.
    pub(crate) breaks: String,
    /// The arguments of `cargo test`.
    pub(crate) suite: Vec<String>,
    pub(crate) patch: PathBuf,
}

/// Every mutant of a folder, those of one suite behind each other, so that the crates are built as seldom as can be.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            mutants.push(parse(name, path.clone(), &text)?);
        }
    }
    mutants.sort_by(|a, b| (&a.suite, &a.name).cmp(&(&b.suite, &b.name)));
    Ok(mutants)
}

fn parse(name: String, patch: PathBuf, text: &str) -> anyhow::Result<Mutant> {
    let header = |wanted: &str| {
        let mut lines = text.lines().take_while(|line| !line.starts_with("diff "));
        let value = lines.find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": "));
        value.map(str::to_owned).with_context(|| format!("{name}: the line `{wanted}:` is missing"))
    };
    let suite = header("Suite")?;
    let suite = suite
        .strip_prefix(SUITE_COMMAND)
        .with_context(|| format!("{name}: a suite begins with `{SUITE_COMMAND}`"))?;
    let suite: Vec<String> = suite.split_whitespace().map(str::to_owned).collect();
    let (promise, breaks) = (header("Promise")?, header("Breaks")?);
    anyhow::ensure!(text.contains("\n--- a/"), "{name}: no diff follows the head");
    Ok(Mutant { name, promise, breaks, suite, patch })
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  ({})", self.name, self.promise)?;
        writeln!(f, "    {}", self.breaks)?;
        write!(f, "    {SUITE_COMMAND}{}", self.suite.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\ndiff --git a/x.rs b/x.rs\n--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n";

    fn parsed(head: &str) -> anyhow::Result<Mutant> {
        parse("no-fsync".to_owned(), PathBuf::new(), &format!("{head}{DIFF}"))
    }

    #[test]
    fn a_head_says_promise_bug_and_suite() {
        let head = "Promise: G1\nBreaks: no fsync\nSuite: cargo test -p x --lib a::b\n";
        let mutant = parsed(head).unwrap();
        assert_eq!((&*mutant.promise, &*mutant.breaks), ("G1", "no fsync"));
        assert_eq!(mutant.suite, ["-p", "x", "--lib", "a::b"]);
    }

    #[test]
    fn a_missing_line_is_named() {
        let error = parsed("Promise: G1\nSuite: cargo test -p x\n").unwrap_err();
        assert!(error.to_string().contains("`Breaks:`"), "{error}");
        let error = parsed("Promise: G1\nBreaks: x\nSuite: make test\n").unwrap_err();
        assert!(error.to_string().contains("cargo test"), "{error}");
    }
}
