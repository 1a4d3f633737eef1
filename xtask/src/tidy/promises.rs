//! Promises: each that stands in `docs/guarantees.md` as kept is named by a test, in its doc comment: `/// Promise G1.`

use std::collections::BTreeSet;

use super::tree::File;
use super::{Finding, Tree};

/// The page that states them.
const PAGE: &str = "docs/guarantees.md";

/// The promises that this version keeps. The page says of the others what is not there yet.
const KEPT: [u32; 9] = [1, 2, 3, 4, 5, 6, 8, 9, 10];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let cited: BTreeSet<_> = tree.with_extension(&["rs"]).flat_map(cited_by_tests).collect();
    let mut findings = Vec::new();
    for number in KEPT.iter().filter(|number| !cited.contains(number)) {
        findings.push(Finding::error(PAGE, 0, format!("no test names promise G{number}")));
    }
    if let Some(page) = tree.text(PAGE) {
        let stated =
            |number: &u32| page.lines().any(|line| line.starts_with(&format!("## G{number} ")));
        for number in (1..=10).filter(|number| !stated(number)) {
            findings.push(Finding::error(PAGE, 0, format!("has no heading for promise G{number}")));
        }
    }
    findings
}

/// The numbers of the promises in doc comments of tests.
fn cited_by_tests(file: &File) -> BTreeSet<u32> {
    let mut cited = BTreeSet::new();
    let mut comment = BTreeSet::new();
    for (_, line) in file.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            comment.extend(promises_in(text));
        } else if line.starts_with("#[") && line.contains("test") && !line.contains("cfg(") {
            cited.append(&mut comment);
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    cited
}

fn promises_in(text: &str) -> Vec<u32> {
    if !text.contains("Promise") {
        return Vec::new();
    }
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter_map(|word| word.strip_prefix('G')?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(text: &str) -> Vec<u32> {
        cited_by_tests(&Tree::of(&[("a.rs", text)]).files()[0]).into_iter().collect()
    }

    #[test]
    fn a_doc_comment_of_a_test_counts() {
        assert_eq!(cited("/// Promise G1.\n#[test]\nfn f() {}"), [1]);
        assert_eq!(cited("/// Promises G1 and G10, G2.\n#[tokio::test]\nfn f() {}"), [1, 2, 10]);
        assert_eq!(cited("    /// Promise G3: fenced.\n    /// More.\n    #[actix_rt::test]"), [3]);
    }

    #[test]
    fn words_elsewhere_do_not_count() {
        assert_eq!(cited("/// Promise G1.\nfn f() {}\n#[test]\nfn g() {}"), [0; 0]);
        assert_eq!(cited("// Promise G1.\n#[test]\nfn f() {}"), [0; 0]);
        assert_eq!(cited("/// Promise G1.\n#[cfg(test)]\nmod tests {}"), [0; 0]);
        assert_eq!(cited("/// G1.\n#[test]\nfn f() {}"), [0; 0]);
    }

    #[test]
    fn a_promise_that_no_test_names_is_found() {
        let test = |numbers: &[u32]| {
            let names: Vec<_> = numbers.iter().map(|number| format!("G{number}")).collect();
            format!("/// Promises {}.\n#[test]\nfn f() {{}}", names.join(", "))
        };
        assert_eq!(check(&Tree::of(&[("a.rs", &test(&KEPT))])), []);
        assert_eq!(check(&Tree::of(&[("a.rs", &test(&KEPT[1..]))])).len(), 1);
    }

    #[test]
    fn a_promise_that_the_page_leaves_out_is_found() {
        let heading = |number| format!("## G{number} something\n");
        let on_page = |numbers: std::ops::RangeInclusive<u32>| {
            let page: String = numbers.map(heading).collect();
            let found = check(&Tree::of(&[(PAGE, &page)]));
            found.iter().filter(|finding| finding.message.starts_with("has no heading")).count()
        };
        assert_eq!(on_page(1..=10), 0);
        assert_eq!(on_page(2..=10), 1);
    }
}
