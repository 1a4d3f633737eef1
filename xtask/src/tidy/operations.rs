//! Operations: every error that a person may see stands on the page that says what to do about it, and so do every kind of failure and every variable.

use super::{Finding, Tree};

const PAGE: &str = "docs/operations.md";

/// Where the errors are that leave the libraries.
const ERRORS: [(&str, &str); 10] = [
    ("console/src/management/options.rs", "ServeError"),
    ("console/src/node/error.rs", "NodeError"),
    ("core/src/error.rs", "AskError"),
    ("persistence/src/store/error.rs", "StoreError"),
    ("sharding/src/client.rs", "ClientError"),
    ("sharding/src/node/options.rs", "LeaveError"),
    ("sharding/src/node/options.rs", "StartError"),
    ("sharding/src/transport/error.rs", "PeersError"),
    ("src/environment.rs", "EnvironmentError"),
    ("src/start_error.rs", "StartError"),
];

/// Where the kinds of failures have their names.
const FAILURES: &str = "runtime/src/failure.rs";

/// Where the variables are read.
const VARIABLES: &str = "src/environment.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else { return Vec::new() };
    let mut findings = Vec::new();
    for (path, name) in ERRORS {
        let Some(source) = tree.text(path) else { continue };
        let variants = variants(source, name);
        if variants.is_empty() {
            findings.push(Finding::error(
                path,
                0,
                format!("has no enum {name}; tell xtask where it went"),
            ));
        }
        for variant in variants.iter().filter(|variant| !page.contains(&format!("`{variant}`"))) {
            findings.push(Finding::error(
                PAGE,
                0,
                format!("does not say what to do about {name}::{variant}"),
            ));
        }
    }
    findings.extend(failures(tree, page));
    for variable in variables(tree.text(VARIABLES).unwrap_or_default()) {
        if !page.contains(&format!("`{variable}`")) {
            findings.push(Finding::error(PAGE, 0, format!("does not explain {variable}")));
        }
    }
    findings
}

/// A row of the catalogue for each kind of failure.
fn failures(tree: &Tree, page: &str) -> Vec<Finding> {
    let Some(source) = tree.text(FAILURES) else { return Vec::new() };
    let (kinds, names) = (variants(source, "FailureKind"), kind_names(source));
    if names.is_empty() || names.len() != kinds.len() {
        let reason = "does not name each FailureKind on a line of its own; tell xtask how it does";
        return vec![Finding::error(FAILURES, 0, reason.to_owned())];
    }
    let missing = names.iter().filter(|name| !page.contains(&format!("\n| `{name}` | ")));
    let finding = |name| format!("has no row for failures of the kind `{name}`");
    missing.map(|name| Finding::error(PAGE, 0, finding(name))).collect()
}

/// The names that kinds of failures have outside of the program: `Self::Panicked => "panicked",`.
fn kind_names(source: &str) -> Vec<&str> {
    let of_kinds = source.lines().skip_while(|line| *line != "impl FailureKind {").skip(1);
    let body = of_kinds.take_while(|line| *line != "}");
    let names = body.filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
    names.filter_map(|(_, name)| name.strip_suffix("\",")).collect()
}

/// The variants of an enum in a formatted source: the names that begin a line at one level of indentation.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("pub enum {name} {{");
    let body = source.lines().skip_while(|line| *line != opening).skip(1);
    let names = body.take_while(|line| *line != "}").filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(line)).collect()
}

fn variables(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').skip(1).step_by(2);
    let mut variables: Vec<_> = quoted.filter(|text| is_variable(text)).collect();
    variables.sort_unstable();
    variables.dedup();
    variables
}

/// `HOLM_` and more; what ends with an underscore is the beginning of a family.
fn is_variable(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c == '_';
    text.strip_prefix("HOLM_").is_some_and(|rest| rest.chars().all(plain) && !rest.is_empty())
        && !text.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "/// Why.\npub enum AskError {\n    /// Full.\n    #[error(\"x\")]\n    Overloaded {\n        /// Which.\n        \
                          limit: Limit,\n    },\n    Moved(ShardId),\n}\n";

    #[test]
    fn variants_are_read_off_a_formatted_source() {
        assert_eq!(variants(SOURCE, "AskError"), ["Overloaded", "Moved"]);
        assert_eq!(variants(SOURCE, "Other"), [""; 0]);
    }

    #[test]
    fn an_error_that_the_page_leaves_out_is_found() {
        let found = |page| check(&Tree::of(&[(PAGE, page), ("core/src/error.rs", SOURCE)])).len();
        assert_eq!(found("`Overloaded` and `Moved`"), 0);
        assert_eq!(found("`Overloaded`"), 1);
    }

    #[test]
    fn a_failure_that_the_catalogue_leaves_out_is_found() {
        let source = "pub enum FailureKind {\n    Panicked,\n    NodeDown,\n}\nimpl FailureKind {\n            Self::Panicked => \"panicked\",\n            Self::NodeDown => \"node_down\",\n}\n";
        let found = |page, source| check(&Tree::of(&[(PAGE, page), (FAILURES, source)])).len();
        assert_eq!(found("\n| `panicked` | a\n| `node_down` | b", source), 0);
        assert_eq!(found("`node_down`\n| `panicked` | a", source), 1, "a word is no row");
        assert_eq!(found("", "pub enum FailureKind {\n    Panicked,\n}\n"), 1);
    }

    #[test]
    fn an_enum_that_went_elsewhere_is_found() {
        assert_eq!(
            check(&Tree::of(&[(PAGE, ""), ("core/src/error.rs", "pub enum Other {}\n")])).len(),
            1
        );
    }

    #[test]
    fn a_variable_that_the_page_leaves_out_is_found() {
        let source = "pub enum EnvironmentError {\n    Unknown,\n}\n[\"HOLM_DATA_DIR\", \"HOLM_\", \"HOLM_DEV_\"]";
        let start = "pub enum StartError {\n    Data,\n}\n";
        let found = |page| {
            check(&Tree::of(&[(PAGE, page), (VARIABLES, source), ("src/start_error.rs", start)]))
                .len()
        };
        assert_eq!(found("`Unknown`, `Data`, `HOLM_DATA_DIR`"), 0);
        assert_eq!(found("`Unknown`, `Data`, HOLM_DATA"), 1);
    }
}
