//! A whole node as a process: settings from `HOLM_*` variables, tracing, management HTTP, signals, and one line that says where it is.
//!
//! `holm node` runs the demo domains this way; a user's own program does the same with its own entities:
//!
//! ```no_run
//! use holm::Holm;
//!
//! fn main() -> std::process::ExitCode {
//!     holm_console::node::run(Holm::builder().data_dir("data"))
//! }
//! ```
//!
//! SIGTERM and SIGINT hand over what the node leads and end the process; the node stays a member and comes back under the same name. To leave
//! for good is an operation of its own: `POST /api/v1/members/{id}:leave`.

mod catalogue;
mod error;
mod life;
mod settings;
mod telemetry;

use std::process::ExitCode;

use holm::{Builder, Holm};
use holm_domains::views::Views;

pub use error::NodeError;
pub use life::{ReadyLine, run_until_stopped, run_with_projections};

use crate::output::{Color, Exit, Failure, Output};

/// Runs a node until it is told to stop. Call it from `main`; it brings its own runtime.
#[must_use]
pub fn run(builder: Builder) -> ExitCode {
    match try_run(builder) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            let failure = Failure::from(error);
            Output::new(false, false, Color::Auto).failure(&failure);
            failure.exit.into()
        }
    }
}

/// `holm node`: a node with the demo domains, its data in `holm-data` unless `HOLM_DATA_DIR` says otherwise.
///
/// # Errors
/// Why it did not start, or did not end well.
pub fn run_demo() -> Result<Exit, Failure> {
    let builder = holm_domains::register(Holm::builder().data_dir("holm-data"));
    on_a_runtime(run_with_projections(builder, |holm| {
        let Some(dir) = settings::views_from_env() else { return Ok(Vec::new()) };
        Ok(Views::start(holm, &dir)?.handles)
    }))?;
    Ok(Exit::Ok)
}

/// The same for a program that reports errors itself.
///
/// # Errors
/// [`NodeError`] says why the node did not start or did not end well.
pub fn try_run(builder: Builder) -> Result<(), NodeError> {
    on_a_runtime(run_until_stopped(builder))
}

fn on_a_runtime(life: impl Future<Output = Result<(), NodeError>>) -> Result<(), NodeError> {
    telemetry::start_tracing();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("holm-http")
        .build()
        .map_err(NodeError::Runtime)?
        .block_on(life)
}
