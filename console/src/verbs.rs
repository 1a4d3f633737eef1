//! The verbs that ask a running cluster: `status`, `send`, `show`, `events`, `flow`, `failures`, `projections`.

mod diff;
mod events;
mod failures;
mod flow;
mod follow;
mod point;
mod projections;
mod send;
mod show;
mod status;

pub use events::EventsArgs;
pub use failures::FailuresArgs;
pub use flow::FlowArgs;
pub use projections::{ProjectionOrder, ProjectionsArgs};
pub use send::SendArgs;
pub use show::ShowArgs;
pub use status::StatusArgs;

use std::str::FromStr as _;
use std::time::Duration;

use holm::EntityAddress;

use crate::api_client::{ApiClient, ClientError};
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

/// Time for the answer to a question that a node answers from its memory; a paused node never does, and the next one is asked.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the nodes in turn until one answers; its answer counts, whatever it is. What is asked must be safe to ask twice.
async fn first_to_answer<T>(
    clients: Vec<ApiClient>,
    ask: impl AsyncFn(&ApiClient) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    let mut silent = None;
    for client in clients {
        match ask(&client).await {
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) => {
                _ = silent.get_or_insert(error);
            }
            answer => return answer.map_err(Failure::from),
        }
    }
    Err(silent.map_or_else(|| Failure::new("no node is known", ""), Failure::from))
}

/// `type/id` as an argument of the command line.
fn address(text: &str) -> Result<EntityAddress, String> {
    EntityAddress::from_str(text).map_err(|error| error.to_string())
}
