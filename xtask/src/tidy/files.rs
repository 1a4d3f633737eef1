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

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = tree.with_extension(&["rs"]).flat_map(check_source).collect();
    for path in PRESENT.iter().filter(|path| !tree.contains(path)) {
        findings.push(Finding::error(path, 0, "is missing"));
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
}
