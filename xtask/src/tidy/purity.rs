//! Purity: what decides is a plain state machine. No I/O, no clock, no thread, no executor; time is a parameter.
//!
//! Held to it are the folders below, and every other file whose first line calls it pure.

use super::source::code_of;
use super::{Finding, Tree};

/// Beginnings of the paths of the pure files.
const PURE: [&str; 7] = [
    "core/src/",
    "runtime/src/engine",
    "sharding/src/cluster_log/state",
    "sharding/src/controller/facts",
    "sharding/src/plan",
    "sharding/src/ring",
    "sharding/src/view",
];

/// The two seams through which time and chance enter.
const SEAMS: [&str; 2] = ["core/src/clock.rs", "core/src/entropy.rs"];

/// What is not pure, as it is written in code.
const IMPURE: [&str; 12] = [
    "tokio::",
    "actix::",
    "actix_rt::",
    "async ",
    ".await",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::env",
    "Instant",
    "SystemTime",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension(&["rs"]) {
        let pure =
            PURE.iter().any(|path| file.path.starts_with(path)) || calls_itself_pure(&file.text);
        if !pure || SEAMS.contains(&file.path.as_str()) {
            continue;
        }
        for (index, line) in code_of(&file.text).lines().enumerate() {
            if let Some(impure) = IMPURE.iter().find(|impure| holds(line, impure)) {
                let message = format!("`{}` in a pure file", impure.trim());
                findings.push(Finding::error(&file.path, index + 1, message));
            }
        }
    }
    findings
}

fn calls_itself_pure(source: &str) -> bool {
    let head = source.lines().next().unwrap_or_default();
    head.starts_with("//!")
        && ["Pure.", "Pure;", "Pure:", "pure function"].iter().any(|claim| head.contains(claim))
}

/// Whether the line holds the text as whole words: `.await` is not in `.awaited`.
fn holds(line: &str, impure: &str) -> bool {
    let ends_word = impure.ends_with(|c: char| c.is_alphanumeric());
    line.match_indices(impure).any(|(at, _)| {
        let next = line[at + impure.len()..].chars().next();
        !ends_word || !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_impurity_is_found_in_a_pure_file() {
        for impure in IMPURE {
            let code = format!("let x = {impure};");
            assert_eq!(
                check(&Tree::of(&[("runtime/src/engine/step.rs", &code)])).len(),
                1,
                "{impure}"
            );
        }
    }

    #[test]
    fn a_file_that_calls_itself_pure_is_held_to_it() {
        let found = |head: &str| {
            let code = format!("{head}\nuse std::fs;\n");
            check(&Tree::of(&[("console/src/audit.rs", &code)])).len()
        };
        assert_eq!(found("//! The audit. Pure: it is fed and judges."), 1);
        assert_eq!(found("//! The audit, read from a file."), 0);
    }

    #[test]
    fn shells_seams_and_comments_are_free() {
        for (path, code) in [
            ("runtime/src/shell/host.rs", "tokio::spawn(x)"),
            ("core/src/clock.rs", "SystemTime::now()"),
            ("runtime/src/engine/step.rs", "self.awaiting.len()"),
            ("core/src/limits.rs", "// no tokio:: here"),
            ("sharding/src/plan.rs", "let address: std::net::SocketAddr;"),
        ] {
            assert_eq!(check(&Tree::of(&[(path, code)])), [], "{path}");
        }
    }
}
