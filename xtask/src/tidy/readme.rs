//! The README: its commands are those that run, and its program is the example that compiles.

use super::{Finding, Tree};

const README: &str = "README.md";
const CI: &str = ".ci/run";
const DEV_COMMAND: &str = "cargo run --release -- dev";
const TEST_COMMAND: &str = "cargo test --workspace";
const PROGRAM: &str = "examples/counter.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, command) in [(README, DEV_COMMAND), (README, TEST_COMMAND), (CI, TEST_COMMAND)] {
        if tree.text(path).is_some_and(|text| !text.lines().any(|line| line.trim() == command)) {
            findings.push(Finding::error(path, 0, format!("has no line `{command}`")));
        }
    }
    if let (Some(readme), Some(program)) = (tree.text(README), tree.text(PROGRAM))
        && first_program(readme).trim() != without_head(program).trim()
    {
        findings.push(Finding::error(README, 0, format!("its program is not that of {PROGRAM}")));
    }
    findings
}

/// What stands between the first Rust fence and its end.
fn first_program(readme: &str) -> &str {
    let after = readme.split_once("```rust").map_or("", |(_, after)| after);
    let body = after.split_once('\n').map_or("", |(_, body)| body);
    body.split_once("```").map_or(body, |(program, _)| program)
}

fn without_head(program: &str) -> &str {
    let head: usize = program
        .split_inclusive('\n')
        .take_while(|line| line.starts_with("//!"))
        .map(str::len)
        .sum();
    &program[head..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(readme: &str, ci: &str, program: &str) -> usize {
        check(&Tree::of(&[(README, readme), (CI, ci), (PROGRAM, program)])).len()
    }

    fn readme(program: &str) -> String {
        format!(
            "# A\n```rust,no_run\n{program}\n```\n```text\n{DEV_COMMAND}\n```\n{TEST_COMMAND}\n"
        )
    }

    #[test]
    fn a_readme_that_tells_the_truth_passes() {
        assert_eq!(found(&readme("fn main() {}"), TEST_COMMAND, "//! A.\n\nfn main() {}\n"), 0);
    }

    #[test]
    fn a_command_that_nobody_runs_is_found() {
        assert_eq!(found(&readme(""), "cargo test --workspace --lib", ""), 1);
        assert_eq!(found(TEST_COMMAND, TEST_COMMAND, ""), 1);
    }

    #[test]
    fn a_program_that_differs_from_the_example_is_found() {
        assert_eq!(
            found(&readme("fn main() {}"), TEST_COMMAND, "//! A.\n\nfn main() { f() }\n"),
            1
        );
    }
}
