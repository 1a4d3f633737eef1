//! Rules about files: each says what it is, none is long, none has a name that says nothing, and the workspace's own pages are there.

use super::tree::File;
use super::{Finding, Tree};

/// A file of this many lines is split; before that it is warned about.
const MAX_LINES: usize = 500;
const WARN_LINES: usize = 350;

/// Names that collect what has no place. Each thing has one.
const BANNED_STEMS: [&str; 9] =
    ["mod", "util", "utils", "common", "types", "helpers", "helper", "misc", "manager"];

/// What a stranger looks for first, and what the build server needs.
const PRESENT: [&str; 24] = [
    ".cargo/config.toml",
    ".ci/run",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "docs/decisions",
    "docs/file-format.md",
    "docs/glossary.md",
    "docs/guarantees.md",
    "docs/operations.md",
    "docs/wire-format.md",
    "examples",
    "justfile",
    "rustfmt.toml",
    "src/lib.rs",
    "tests",
];

/// The commands of the README; the build server runs the test command exactly as printed there.
const DEV_COMMAND: &str = "cargo run --release -- dev";
const TEST_COMMAND: &str = "cargo test --workspace";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = tree.with_extension(&["rs"]).flat_map(check_source).collect();
    for path in PRESENT.iter().filter(|path| !tree.contains(path)) {
        findings.push(Finding::error(path, 0, "is missing"));
    }
    let promised =
        [("README.md", DEV_COMMAND), ("README.md", TEST_COMMAND), (".ci/run", TEST_COMMAND)];
    for (path, command) in promised {
        if tree.text(path).is_some_and(|text| !text.lines().any(|line| line.trim() == command)) {
            findings.push(Finding::error(path, 0, format!("has no line `{command}`")));
        }
    }
    findings
}

fn check_source(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//! ") {
        findings.push(Finding::error(
            &file.path,
            1,
            "opens with `//!` and a sentence that says what it is",
        ));
    }
    let stem = file.name().trim_end_matches(".rs");
    if BANNED_STEMS.contains(&stem) {
        let message = format!("`{stem}` says nothing about what is inside");
        findings.push(Finding::error(&file.path, 0, message));
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        findings.push(Finding::error(&file.path, 0, format!("{lines} lines; at most {MAX_LINES}")));
    } else if lines > WARN_LINES {
        findings.push(Finding::warning(
            &file.path,
            0,
            format!("{lines} lines; aim for {WARN_LINES}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Vec<Finding> {
        check_source(&Tree::of(&[(path, text)]).files()[0])
    }

    #[test]
    fn a_file_that_says_what_it_is_passes() {
        assert_eq!(source("a/ring.rs", "//! The ring.\n"), []);
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(source("a/ring.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(source("a/ring.rs", "//!\n").len(), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for stem in BANNED_STEMS {
            assert_eq!(source(&format!("a/{stem}.rs"), "//! A head.\n").len(), 1, "{stem}");
        }
    }

    #[test]
    fn a_long_file_is_warned_about_and_a_longer_one_refused() {
        let of = |lines: usize| source("a/ring.rs", &"//! The ring.\n".repeat(lines));
        assert_eq!(of(WARN_LINES), []);
        assert!(!of(WARN_LINES + 1)[0].is_error());
        assert!(!of(MAX_LINES)[0].is_error());
        assert!(of(MAX_LINES + 1)[0].is_error());
    }

    #[test]
    fn what_a_stranger_looks_for_must_be_there() {
        let there: Vec<_> = PRESENT.iter().map(|&path| (path, "//! Something.")).collect();
        let missing =
            |tree: &Tree| check(tree).iter().filter(|f| f.message == "is missing").count();
        assert_eq!(missing(&Tree::of(&there)), 0);
        assert_eq!(missing(&Tree::of(&there[1..])), 1);
    }

    #[test]
    fn the_commands_of_the_readme_are_the_ones_that_run() {
        let commands = |readme: &str, ci: &str| {
            let found = check(&Tree::of(&[("README.md", readme), (".ci/run", ci)]));
            found.iter().filter(|finding| finding.message.starts_with("has no line")).count()
        };
        let readme = format!("{DEV_COMMAND}\n{TEST_COMMAND}\n");
        assert_eq!(commands(&readme, TEST_COMMAND), 0);
        assert_eq!(commands(&readme, "cargo test --workspace --lib"), 1);
        assert_eq!(commands(TEST_COMMAND, TEST_COMMAND), 1);
    }
}
