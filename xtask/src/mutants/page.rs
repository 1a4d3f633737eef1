//! The page of planted bugs, `docs/mutants.md`: a row for each mutant, with what caught it and when that was seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use anyhow::Context as _;

use super::catalog::Mutant;
use super::trial::Verdict;

const PATH: &str = "docs/mutants.md";

/// Names in one row; a mutant that breaks half of a suite needs no more.
const NAMED: usize = 3;

const HEAD: &str = "\
# Planted bugs

A suite is worth what it catches. Each row is a bug that was planted in a copy of the tree, the promise or law that it breaks, and the test that failed
then. A bug that no test catches is a hole in the tests, and the command below fails.

The rows are written by `cargo xtask mutants --record`; `--only NAME` runs some, `--list` prints all with their suites, `--check` sees that each patch still
applies. The patches are in `xtask/mutants`. A suite must pass on the tree as it is, and a compiler's error or a hang counts for nothing. A
mutant that is in the folder and has no row here was not run yet.

| planted bug | breaks | what is wrong | caught by | seen |
|---|---|---|---|---|
";

/// The page in memory: its rows by the names of the mutants.
pub(crate) struct Page {
    rows: BTreeMap<String, String>,
}

impl Page {
    /// The page as it stands; empty when there is none yet.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(root.join(PATH)) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::parse("")),
            Err(error) => Err(error).context(PATH),
        }
    }

    fn parse(text: &str) -> Self {
        let row = |line: &str| {
            let name = line.strip_prefix("| `")?.split_once('`')?.0;
            Some((name.to_owned(), line.to_owned()))
        };
        Self { rows: text.lines().filter_map(row).collect() }
    }

    /// Whether a mutant has a row.
    pub(crate) fn names(&self, mutant: &str) -> bool {
        self.rows.contains_key(mutant)
    }

    /// Writes what was seen into the row of a mutant.
    pub(crate) fn note(&mut self, mutant: &Mutant, verdict: &Verdict, date: &str) {
        let by = match verdict {
            Verdict::Caught(tests) => {
                let mut named: Vec<_> =
                    tests.iter().take(NAMED).map(|test| format!("`{test}`")).collect();
                if tests.len() > NAMED {
                    named.push(format!("{} more", tests.len() - NAMED));
                }
                named.join(", ")
            }
            other => format!("**{other}**"),
        };
        let Mutant { name, promise, breaks, .. } = mutant;
        let row = format!("| `{name}` | {promise} | {breaks} | {by} | {date} |");
        self.rows.insert(name.clone(), row);
    }

    /// Takes out the rows of mutants that are no more.
    pub(crate) fn keep_only(&mut self, names: &[String]) {
        self.rows.retain(|name, _| names.contains(name));
    }

    pub(crate) fn write(&self, root: &Path) -> anyhow::Result<()> {
        fs::write(root.join(PATH), self.text()).context(PATH)
    }

    fn text(&self) -> String {
        let rows: String = self.rows.values().map(|row| format!("{row}\n")).collect();
        format!("{HEAD}{rows}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_replaced_the_others_stay() {
        let mutant = |name: &str| Mutant {
            name: name.to_owned(),
            promise: "G1".to_owned(),
            breaks: "x".to_owned(),
            suite: Vec::new(),
            patch: Default::default(),
        };
        let mut page = Page::parse("");
        page.note(&mutant("a"), &Verdict::Missed, "2026-01-01");
        page.note(&mutant("b"), &Verdict::Caught(vec!["t".to_owned()]), "2026-01-01");
        let mut page = Page::parse(&page.text());
        let caught = ["t", "u", "v", "w"].map(str::to_owned).to_vec();
        page.note(&mutant("a"), &Verdict::Caught(caught), "2026-01-02");
        let text = page.text();
        assert!(text.contains("| `a` | G1 | x | `t`, `u`, `v`, 1 more | 2026-01-02 |"), "{text}");
        assert!(text.contains("| `b` | G1 | x | `t` | 2026-01-01 |"), "{text}");
        page.keep_only(&["b".to_owned()]);
        assert!(!page.names("a") && page.names("b"));
    }
}
