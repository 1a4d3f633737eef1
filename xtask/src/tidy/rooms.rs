//! Rooms: a crate that we may want to replace one day is named in one place, so that replacing it means rewriting that place.

use super::source::code_of;
use super::{Finding, Tree};

/// A crate, and the beginnings of the paths where it may be named. Tests, benches and examples are free.
const ROOMS: [(&str, &[&str]); 8] = [
    ("actix", &["runtime/src/host.rs", "runtime/src/shell", "benches/peers"]),
    ("actix_rt", &["runtime/src/shell"]),
    ("axum", &["console/src/management", "console/src/node"]),
    ("bincode", &["persistence/src/codec.rs"]),
    ("chitchat", &["sharding/src/membership"]),
    ("hashring", &["sharding/src/ring.rs"]),
    ("openraft", &["sharding/src/raft"]),
    (
        "sled",
        &[
            "persistence/src/entity_index/tree.rs",
            "persistence/src/snapshot_store.rs",
            "persistence/src/store",
            "persistence/src/trims.rs",
            "projections/src/sled_view",
        ],
    ),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sources = tree.with_extension(&["rs"]);
    for file in
        sources.filter(|file| file.path.contains("src/") && !file.path.starts_with("xtask/"))
    {
        for (index, line) in code_of(&file.text).lines().enumerate() {
            for (name, rooms) in ROOMS {
                let inside = rooms.iter().any(|room| file.path.starts_with(room));
                if !inside && names(line, name) {
                    let message = format!("`{name}` is named in {} only", rooms.join(", "));
                    findings.push(Finding::error(&file.path, index + 1, message));
                }
            }
        }
    }
    findings
}

/// Whether a path begins with the crate: `sled::Db`, but neither `crate::sled::Db` nor `unsled::Db`.
fn names(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, code: &str) -> usize {
        check(&Tree::of(&[(path, code)])).len()
    }

    #[test]
    fn a_crate_outside_its_room_is_found() {
        for (name, rooms) in ROOMS {
            let code = format!("use {name}::Thing;\n");
            assert_eq!(found("elsewhere/src/lib.rs", &code), 1, "{name}");
            for room in rooms {
                assert_eq!(found(&format!("{room}/x.rs"), &code), 0, "{name} in {room}");
            }
        }
    }

    #[test]
    fn what_only_resembles_a_crate_is_free() {
        for code in ["use crate::sled::Db;", "// sled::Db", "let x = \"sled::Db\";", "unsled::f()"]
        {
            assert_eq!(found("elsewhere/src/lib.rs", code), 0, "{code}");
        }
        assert_eq!(found("elsewhere/tests/it/main.rs", "use sled::Db;"), 0);
    }
}
