//! Words that mean nothing to a stranger: paths of one machine, and numbers of a tracker that the tree does not carry.

use super::tree::File;
use super::{Finding, Tree};

/// Beginnings of paths that exist on one machine only. Written in halves so that this file keeps its own rule.
const MACHINE_PATHS: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "holm"),
    concat!("/tmp/", "target"),
    concat!("/tmp/", "bash_jobs"),
];

/// What is ours to word; generated files and licences are not.
const WORDED: [&str; 5] = ["rs", "md", "toml", "sh", "json"];
const WORDED_NAMES: [&str; 2] = ["run", "justfile"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let ours =
        |file: &&File| WORDED.contains(&file.extension()) || WORDED_NAMES.contains(&file.name());
    tree.files().iter().filter(ours).flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
            let message = format!("`{path}…` exists on one machine only");
            findings.push(Finding::error(&file.path, number, message));
        }
        if cites_tracker(line) {
            let message =
                "a tracker's number means nothing here; say what it was about, or link it";
            findings.push(Finding::error(&file.path, number, message));
        }
    }
    findings
}

/// An issue with a number cites a tracker that nobody sees; an upstream one is named by its URL or as `owner/repository#7`.
fn cites_tracker(line: &str) -> bool {
    let lower = line.to_lowercase();
    if lower.contains("github.com/") {
        return false;
    }
    let number_follows = |(at, word): (usize, &str)| {
        let rest = lower[at + word.len()..].trim_start_matches('s').trim_start();
        let rest = rest.strip_prefix('#').unwrap_or(rest);
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    lower.match_indices(concat!("is", "sue")).any(number_follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Tree::of(&[("docs/page.md", text)])).len()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for path in MACHINE_PATHS {
            assert_eq!(found(&format!("see {path}x")), 1, "{path}");
        }
        assert_eq!(found("a directory under the temporary one, /var/lib/holm"), 0);
    }

    #[test]
    fn numbers_of_a_tracker_are_found() {
        for word in ["is", "Is"].map(|half| format!("{half}sue")) {
            assert_eq!(found(&format!("as {word} 7 asks")), 1);
            assert_eq!(found(&format!("as {word}s #7 and others ask")), 1);
        }
        assert_eq!(found("a workaround for databendlabs/openraft#1808"), 0);
        assert_eq!(found("https://github.com/databendlabs/openraft/issues/1808"), 0);
    }

    #[test]
    fn a_licence_is_not_ours_to_word() {
        let text = format!("{}x", MACHINE_PATHS[0]);
        assert_eq!(check(&Tree::of(&[("LICENSE-MIT", &text)])), []);
        assert_eq!(check(&Tree::of(&[(".ci/run", &text)])).len(), 1);
    }
}
