//! The rules of the house that no compiler checks, each a pure function from the tree's texts to findings.
//!
//! Everything works on a [`Tree`] in memory, so that every rule is tested with a few lines of text that break it. A rule that cannot name
//! the file and, where there is one, the line does not belong here.

mod arrows;
mod code;
mod files;
mod laws;
mod links;
mod operations;
mod promises;
mod purity;
mod readme;
mod rooms;
mod source;
mod tree;
mod words;

use std::fmt;

pub(crate) use tree::Tree;

/// Everything that the rules found, errors first, in the order of the files.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in [
        arrows::check,
        code::check,
        files::check,
        laws::check,
        links::check,
        operations::check,
        promises::check,
        purity::check,
        readme::check,
        rooms::check,
        words::check,
    ] {
        findings.extend(rule(tree));
    }
    findings.sort_by(|a, b| (a.level, &a.path, a.line).cmp(&(b.level, &b.path, b.line)));
    findings
}

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    level: Level,
    path: String,
    /// From 1; zero when the whole file is meant.
    line: usize,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error,
    Warning,
}

impl Finding {
    fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Error, path: path.to_owned(), line, message: message.into() }
    }

    fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, path: path.to_owned(), line, message: message.into() }
    }

    /// Whether the tree must not be merged with it.
    pub(crate) fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        if self.line == 0 {
            write!(f, "{level}: {}: {}", self.path, self.message)
        } else {
            write!(f, "{level}: {}:{}: {}", self.path, self.line, self.message)
        }
    }
}
