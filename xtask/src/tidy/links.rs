//! Links between pages: what a page points at inside the tree exists, and so does the heading behind a `#`. The same goes for a path that a
//! page only names, as code.

use super::tree::File;
use super::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.with_extension(&["md"]) {
        for (line, target) in targets(page) {
            if let Some(message) = broken(tree, page, &target) {
                findings.push(Finding::error(&page.path, line, message));
            }
        }
        for (line, path) in named_paths(tree, page).filter(|(_, path)| !tree.contains(path)) {
            findings.push(Finding::error(&page.path, line, format!("`{path}` does not exist")));
        }
    }
    findings
}

/// Code spans that begin with a folder at the top of the tree, as in `core/src/lib.rs`.
fn named_paths<'a>(tree: &'a Tree, page: &'a File) -> impl Iterator<Item = (usize, &'a str)> {
    let spans = page.lines().flat_map(|(number, line)| {
        line.split('`').skip(1).step_by(2).map(move |span| (number, span))
    });
    spans.filter(|(_, span)| {
        let folder = span.split_once('/').map(|(folder, _)| folder);
        let path = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        path && folder
            .is_some_and(|folder| !folder.is_empty() && tree.contains(&format!("{folder}/")))
    })
}

/// The targets of `[text](target)` outside code blocks, with their lines.
fn targets(page: &File) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, remaining)) = after.split_once(')') else { break };
            targets.push((number, target.to_owned()));
            rest = remaining;
        }
    }
    targets
}

fn broken(tree: &Tree, page: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path)? };
    if !tree.contains(&path) {
        return Some(format!("`{target}` does not exist"));
    }
    let there = heading.is_empty()
        || tree
            .text(&path)
            .is_some_and(|text| text.lines().any(|line| slug(line) == Some(heading.into())));
    (!there).then(|| format!("`{path}` has no heading `#{heading}`"))
}

/// The path that `target` means on the page `from`; a path that leaves the tree stays as it is and exists nowhere.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Some(target.to_owned()),
            ".." => {}
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The anchor that a heading gets: lower case, spaces as dashes, without punctuation.
fn slug(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        let other = ("docs/other.md", "# Other\n\n## Full disk, and more\n");
        check(&Tree::of(&[("docs/page.md", text), other, ("core/src/lib.rs", "")])).len()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for link in [
            "[a](other.md)",
            "[a](./other.md#full-disk-and-more) and [b](../core/src/lib.rs)",
            "[a](../core/)",
            "[a](https://example.org/nothing)",
            "# Top\n[a](#top)",
            "```\n[a](nowhere.md)\n```",
        ] {
            assert_eq!(findings(link), 0, "{link}");
        }
    }

    #[test]
    fn paths_that_are_named_exist() {
        assert_eq!(
            findings("see `core/src/lib.rs`, `core/src` and `docs/`; `type/id` is no path"),
            0
        );
        assert_eq!(findings("see `core/src/gone.rs`"), 1);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for link in
            ["[a](nowhere.md)", "[a](other.md#nothing)", "[a](../../outside.md)", "[a](#top)"]
        {
            assert_eq!(findings(link), 1, "{link}");
        }
    }
}
