//! The arrows between crates: each may look down, none up, and the lower ones stay free of what they must not know.

use std::collections::BTreeSet;

use super::{Finding, Tree};
use crate::tidy::tree::File;

/// A crate of the workspace: its folder, what of the workspace it may depend on, and which outside crates it must not know.
struct Room {
    package: &'static str,
    may_use: &'static [&'static str],
    /// Outside crates, or families of them when the name ends with `*`.
    must_not_know: &'static [&'static str],
}

/// From bottom to top. A crate that is not listed is an error, so that a new one gets its place here.
const ROOMS: [Room; 16] = [
    Room {
        package: "holm-core",
        may_use: &[],
        must_not_know: &["tokio*", "actix*", "futures*", "sled", "axum", "openraft", "chitchat"],
    },
    Room { package: "holm-macros", may_use: &[], must_not_know: &["tokio*", "actix*"] },
    Room {
        package: "holm-persistence",
        may_use: &["holm-core"],
        must_not_know: &["tokio*", "actix*", "axum", "openraft", "chitchat", "reqwest"],
    },
    Room {
        package: "holm-runtime",
        may_use: &["holm-core", "holm-macros", "holm-persistence"],
        must_not_know: &["sled", "axum", "openraft", "chitchat", "reqwest", "hashring"],
    },
    Room {
        package: "holm-sharding",
        may_use: &["holm-core", "holm-persistence", "holm-runtime"],
        must_not_know: &["sled", "axum", "clap", "reqwest"],
    },
    Room {
        package: "holm",
        may_use: &["holm-core", "holm-macros", "holm-persistence", "holm-runtime", "holm-sharding"],
        must_not_know: &["sled", "axum", "clap", "openraft", "chitchat", "reqwest"],
    },
    // The read side follows the bus and nothing else; it brings databases of its own, one of them in C, so nobody below pays for it.
    Room {
        package: "holm-projections",
        may_use: &["holm-core", "holm-persistence", "holm-runtime"],
        must_not_know: &["actix*", "axum", "openraft", "chitchat", "reqwest"],
    },
    Room {
        package: "holm-kit",
        may_use: &["holm-core", "holm-persistence", "holm-runtime"],
        must_not_know: &["tokio*", "actix*", "sled", "axum", "openraft", "chitchat"],
    },
    Room {
        package: "holm-domains",
        // As any user's crate: views beside the entities, the kit for its tests.
        may_use: &["holm", "holm-kit", "holm-projections"],
        must_not_know: &["tokio*", "actix*", "sled", "axum", "openraft", "chitchat"],
    },
    // The proof looks at everything that is proved; nothing looks at it but the tests of the root.
    Room {
        package: "holm-sim",
        may_use: &[
            "holm-core",
            "holm-persistence",
            "holm-runtime",
            "holm-sharding",
            "holm",
            "holm-domains",
            "holm-projections",
        ],
        must_not_know: &["axum", "clap", "reqwest"],
    },
    Room {
        package: "holm-console",
        may_use: &["holm", "holm-domains", "holm-projections"],
        must_not_know: &["sled", "openraft", "chitchat", "actix*"],
    },
    Room {
        package: "holm-faults",
        may_use: &["holm", "holm-console"],
        must_not_know: &["sled", "openraft", "chitchat", "actix*", "axum"],
    },
    Room {
        package: "holm-fuzz",
        may_use: &[
            "holm",
            "holm-console",
            "holm-persistence",
            "holm-projections",
            "holm-runtime",
            "holm-sharding",
        ],
        must_not_know: &["sled", "openraft", "chitchat", "actix*"],
    },
    // The peers are named in there and nowhere else.
    Room {
        package: "holm-peers",
        may_use: &["holm", "holm-core", "holm-persistence", "holm-runtime"],
        must_not_know: &["sled", "openraft", "chitchat"],
    },
    // A workspace of its own, which shares sources with the peers and depends on nothing of ours.
    Room {
        package: "holm-peers-remote",
        may_use: &[],
        must_not_know: &["sled", "openraft", "chitchat", "actix*"],
    },
    Room { package: "xtask", may_use: &[], must_not_know: &["tokio*", "actix*"] },
];

/// Tests at the root look at everything; every other crate's tests keep to its arrows.
const FREE_TESTS: &str = "holm";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files()
        .iter()
        .filter(|file| file.name() == "Cargo.toml")
        .flat_map(check_manifest)
        .collect()
}

fn check_manifest(file: &File) -> Vec<Finding> {
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::error(&file.path, 0, format!("no TOML: {error}"))],
    };
    let Some(package) = manifest.get("package").and_then(|package| package.get("name")) else {
        return Vec::new();
    };
    let package = package.as_str().unwrap_or_default();
    let Some(room) = ROOMS.iter().find(|room| room.package == package) else {
        let message = format!("`{package}` has no place among the arrows; give it one in xtask");
        return vec![Finding::error(&file.path, 0, message)];
    };
    let mut findings = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        if section == "dev-dependencies" && package == FREE_TESTS {
            continue;
        }
        for used in names(&manifest, section) {
            let message = room.arrow_up(&used).or_else(|| room.stranger(&used, section));
            if let Some(message) = message {
                findings.push(Finding::error(&file.path, line_of(file, &used), message));
            }
        }
    }
    if manifest.get("lints").and_then(|lints| lints.get("workspace")).is_none() {
        findings.push(Finding::error(&file.path, 0, "`[lints] workspace = true` is missing"));
    }
    findings
}

/// The names in a section, also those of its platform-specific forms.
fn names(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    let plain = manifest.get(section).and_then(toml::Value::as_table);
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    let platforms = platforms.into_iter().flat_map(toml::Table::values);
    let specific = platforms.filter_map(|platform| platform.get(section)?.as_table());
    plain.into_iter().chain(specific).flat_map(toml::Table::keys).cloned().collect()
}

impl Room {
    fn arrow_up(&self, used: &str) -> Option<String> {
        let ours = ROOMS.iter().any(|room| room.package == used);
        (ours && !self.may_use.contains(&used))
            .then(|| format!("`{}` must not depend on `{used}`: arrows point down", self.package))
    }

    /// Tests may need what the crate itself must not know, an executor for instance.
    fn stranger(&self, used: &str, section: &str) -> Option<String> {
        let known = |banned: &&str| match banned.strip_suffix('*') {
            Some(family) => used.starts_with(family),
            None => used == *banned,
        };
        (section != "dev-dependencies" && self.must_not_know.iter().any(known))
            .then(|| format!("`{}` must not know `{used}`", self.package))
    }
}

fn line_of(file: &File, dependency: &str) -> usize {
    let names_it = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    file.lines().find(|(_, line)| names_it(line)).map_or(0, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(package: &str, rest: &str) -> Vec<Finding> {
        let text = format!("[package]\nname = \"{package}\"\n[lints]\nworkspace = true\n{rest}");
        check(&Tree::of(&[("x/Cargo.toml", &text)]))
    }

    #[test]
    fn an_arrow_down_is_fine() {
        let rest =
            "[dependencies]\nholm-core.workspace = true\nholm-persistence = { path = \"..\" }";
        assert_eq!(manifest("holm-runtime", rest), []);
    }

    #[test]
    fn an_arrow_up_is_found_in_every_section() {
        for section in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
            let found =
                manifest("holm-core", &format!("[{section}]\nholm-runtime.workspace = true"));
            assert_eq!(found.len(), 1, "{section}");
            assert!(found[0].is_error() && found[0].line == 6, "{found:?}");
        }
    }

    #[test]
    fn the_tests_of_the_root_look_at_everything() {
        assert_eq!(manifest("holm", "[dev-dependencies]\nholm-console.workspace = true"), []);
        assert_eq!(manifest("holm", "[dependencies]\nholm-console.workspace = true").len(), 1);
    }

    #[test]
    fn a_crate_that_must_not_be_known_is_found() {
        assert_eq!(manifest("holm-core", "[dependencies]\ntokio.workspace = true").len(), 1);
        assert_eq!(manifest("holm-core", "[dependencies]\ntokio-util = \"1\"").len(), 1);
        assert_eq!(manifest("holm-console", "[dependencies]\ntokio.workspace = true"), []);
        assert_eq!(manifest("holm-core", "[dev-dependencies]\ntokio.workspace = true"), []);
    }

    #[test]
    fn a_crate_without_a_place_and_one_without_lints_are_found() {
        assert_eq!(manifest("holm-elsewhere", "").len(), 1);
        let bare = check(&Tree::of(&[("x/Cargo.toml", "[package]\nname = \"holm-core\"")]));
        assert_eq!(bare.len(), 1);
    }
}
