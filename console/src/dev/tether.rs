//! The tether: a child of the supervisor dies with it, even when the supervisor is killed with SIGKILL.
//!
//! The supervisor does not start a node directly. It starts this program again as `holm tethered --to PID -- PROGRAM …`, which asks the kernel
//! for SIGKILL on its parent's death and then becomes PROGRAM. The request survives `exec`, so it works for any program, and it needs no
//! code between `fork` and `exec`, which only unsafe code could run.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use clap::Args;

/// Become another program that dies with its parent.
#[derive(Debug, Clone, Args)]
pub struct TetheredArgs {
    /// The process id of the parent.
    #[arg(long)]
    pub to: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}

/// Ties this process to its parent and becomes the program. Returns only when that failed.
#[must_use]
pub fn run(args: &TetheredArgs) -> std::io::Error {
    if let Err(error) = tie() {
        return error;
    }
    // The parent may have died before the request above; then nobody would ever send the signal.
    if parent_id() != args.to {
        return std::io::Error::other("the supervisor is gone");
    }
    let Some((program, rest)) = args.program.split_first() else {
        return std::io::Error::other("no program was named");
    };
    Command::new(program).args(rest).exec()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn tie() -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Into::into)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn tie() -> std::io::Result<()> {
    // Other systems have no such request; there the supervisor's own clean-up must do.
    Ok(())
}

/// The path of this program as it was at the first call. Asked later, Linux would name a file that was built anew meanwhile as deleted.
///
/// # Errors
/// When the path is unknown.
pub fn this_program() -> std::io::Result<PathBuf> {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = PATH.get() {
        return Ok(path.clone());
    }
    let path = std::env::current_exe()?;
    Ok(PATH.get_or_init(|| path).clone())
}

/// A command that starts `program` tied to this process. The thread that spawns it must live as long as the child: the kernel counts the death of
/// that thread as the death of the parent.
///
/// # Errors
/// When the path of this program is unknown.
pub fn command(
    program: &std::ffi::OsStr,
    args: &[OsString],
) -> std::io::Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(this_program()?);
    command
        .arg("tethered")
        .arg("--to")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program)
        .args(args)
        .process_group(0);
    Ok(command)
}
