//! Programs of the system: whether they are there, and calling them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// True when this process may do everything.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // What only root calls is not on everybody's path.
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// Why these programs cannot be used; `None` when they can.
pub(crate) fn lacks(programs: &[&str]) -> Option<String> {
    if !is_root() {
        return Some("it needs root".to_owned());
    }
    let missing = programs.iter().find(|program| find(program).is_none())?;
    Some(format!("`{missing}` is not installed"))
}

/// Calls a program and waits for it.
///
/// # Errors
/// What it said, when it failed.
pub(crate) fn call(program: &str, args: &[&str]) -> anyhow::Result<String> {
    call_with(program, args, "")
}

/// The same with something to read on its standard input.
///
/// # Errors
/// What it said, when it failed.
pub(crate) fn call_with(program: &str, args: &[&str], input: &str) -> anyhow::Result<String> {
    let path = find(program).with_context(|| format!("`{program}` is not installed"))?;
    let mut child = Command::new(path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{program}` cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read to the end says itself what is wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {} ({})", args.join(" "), said.trim(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
