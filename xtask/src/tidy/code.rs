//! Rules about code: nothing unfinished, nothing left over from debugging, no test that does not run.

use super::source::code_of;
use super::{Finding, Tree};

/// What must not stand in code, and why. Written in halves so that this file keeps its own rule.
const UNFINISHED: [(&str, &str); 4] = [
    (concat!("to", "do!("), "finish it or leave it out"),
    (concat!("unimple", "mented!("), "finish it or leave it out"),
    (concat!("db", "g!("), "debug output is for the bench, not for the tree"),
    (
        concat!("#[ign", "ore]"),
        "say why the test does not run by itself: an attribute with its reason",
    ),
];

/// A fence of a doc test that is never compiled.
const UNCOMPILED_FENCE: &str = concat!("```", "ignore");
const UNCOMPILED_RUST_FENCE: &str = concat!("```rust,", "ignore");

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension(&["rs"]) {
        for (index, line) in code_of(&file.text).lines().enumerate() {
            for (banned, advice) in UNFINISHED {
                if line.contains(banned) {
                    let message = format!("`{}`: {advice}", banned.trim_end_matches('('));
                    findings.push(Finding::error(&file.path, index + 1, message));
                }
            }
        }
    }
    for file in tree.with_extension(&["rs", "md"]) {
        for (number, line) in file.lines() {
            let fence = line.trim_start_matches(['/', '!', ' ']);
            if fence.starts_with(UNCOMPILED_FENCE) || fence.starts_with(UNCOMPILED_RUST_FENCE) {
                let message = "an example that is not compiled rots; use `no_run`, or `text`";
                findings.push(Finding::error(&file.path, number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Tree::of(&[("a.rs", text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_unfinished_word_is_found_in_code() {
        for (banned, _) in UNFINISHED {
            assert_eq!(lines(&format!("fn f() {{\n    {banned}\n}}")), [2], "{banned}");
        }
    }

    #[test]
    fn words_in_comments_and_texts_are_free() {
        for (banned, _) in UNFINISHED {
            assert_eq!(lines(&format!("// {banned}\nlet x = \"{banned}\";")), [0; 0], "{banned}");
        }
    }

    #[test]
    fn an_uncompiled_doc_test_is_found() {
        assert_eq!(lines(&format!("/// {UNCOMPILED_FENCE}\n/// x\n/// ```")), [1]);
        assert_eq!(lines(&format!("//! {UNCOMPILED_RUST_FENCE}")), [1]);
        assert_eq!(lines("/// ```no_run\n/// ```"), [0; 0]);
    }
}
