//! Examples as programs.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The program of an example, built if it is not. It is asked for of the whole workspace, as the tests are: for one package alone cargo chooses fewer features of
/// what it depends on, and builds all of that once more.
pub(crate) fn example(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--message-format", "json", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(["--workspace", "--example", name])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str().map(PathBuf::from);
        executable.filter(|_| message["target"]["name"] == name)
    });
    executables.next().unwrap()
}
