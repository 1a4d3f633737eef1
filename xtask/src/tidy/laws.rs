//! Laws: a test that names one (`/// Law J8.`) names one that stands in `docs/laws.md`.

use super::{Finding, Tree};

const PAGE: &str = "docs/laws.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let page = tree.text(PAGE).unwrap_or_default();
    let stands = |law: &str| page.contains(&format!("**{law}**"));
    let mut findings = Vec::new();
    for file in tree.with_extension(&["rs"]) {
        for (number, line) in file.lines() {
            for law in cited(line).into_iter().filter(|law| !stands(law)) {
                findings.push(Finding::error(
                    &file.path,
                    number,
                    format!("law {law} is not in {PAGE}"),
                ));
            }
        }
    }
    findings
}

/// Letters and a number behind the word, in a comment. The shard log's own laws have numbers alone and stand beside its contract.
fn cited(line: &str) -> Vec<&str> {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return Vec::new() };
    let Some((_, after)) = comment.split_once("Law").or_else(|| comment.split_once("law ")) else {
        return Vec::new();
    };
    let words = after.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| is_law(word)).collect()
}

/// One or two capital letters, then digits. Promises (`G1` to `G10`) look the same and are checked elsewhere.
fn is_law(word: &str) -> bool {
    let letters = word.len() - word.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
    let digits = &word[letters..];
    let promise =
        letters == 1 && word.starts_with('G') && digits.parse::<u32>().is_ok_and(|n| n <= 10);
    (1..=2).contains(&letters)
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !promise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_read_off_comments() {
        assert_eq!(cited("    /// Law J8."), ["J8"]);
        assert_eq!(cited("/// Laws N1, N16 and SC2: prefixes."), ["N1", "N16", "SC2"]);
        assert_eq!(cited("//! Law J12. Promise G1 holds."), ["J12"]);
        assert_eq!(cited("// Contained (promise G7, law E13)."), ["E13"]);
        assert_eq!(cited("/// Law 3."), [""; 0]);
        assert_eq!(cited("let law = Law::J8;"), [""; 0]);
        assert_eq!(cited("/// J8"), [""; 0]);
    }

    #[test]
    fn a_law_that_stands_nowhere_is_found() {
        let test = ("a.rs", "/// Laws J8 and J9.\n");
        assert_eq!(check(&Tree::of(&[test, (PAGE, "- **J8** one\n- **J9** two\n")])), []);
        assert_eq!(check(&Tree::of(&[test, (PAGE, "- **J8** one\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[test])).len(), 2);
    }
}
