//! The verbs that ask a running cluster: `status`, `send`, `show`.

mod send;
mod show;
mod status;

pub use send::SendArgs;
pub use show::ShowArgs;
pub use status::StatusArgs;

use std::str::FromStr as _;

use holm::EntityAddress;

use crate::api_client::{ApiClient, ClientError};
use crate::cli::Global;
use crate::output::Failure;

/// Runs one future, and the local tasks that it spawns, on this thread.
///
/// # Errors
/// What the future says, or why the system gives no runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the program cannot be set up", error))?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Asks the known nodes in turn until one can be reached; its answer counts, whatever it is.
async fn first_reachable<T>(
    global: &Global,
    ask: impl AsyncFn(&ApiClient) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    let mut unreached = None;
    for client in global.clients()? {
        match ask(&client).await {
            Err(error @ ClientError::Unreachable { .. }) => _ = unreached.get_or_insert(error),
            answer => return answer.map_err(Failure::from),
        }
    }
    Err(unreached.map_or_else(|| Failure::new("no node is known", ""), Failure::from))
}

/// `type/id` as an argument of the command line.
fn address(text: &str) -> Result<EntityAddress, String> {
    EntityAddress::from_str(text).map_err(|error| error.to_string())
}
