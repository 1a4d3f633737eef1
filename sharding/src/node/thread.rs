//! The one thread of a node, with its current-thread runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::core::Core;
use super::options::{ClusterOptions, StartError};
use super::start::start;

/// A node that started, and the runtime that it runs on.
pub(super) type Started = (Arc<Core>, Handle);

/// Threads for reading the disk when a replica lags.
const READERS: usize = 8;

/// Time for reads that are under way when the node stops.
const END: Duration = Duration::from_secs(1);

/// Runs a node on a thread of its own. Resolves `ready` when it is a member or cannot be one; ends when `stop` resolves or is dropped.
pub(super) fn run(
    options: ClusterOptions,
    ready: oneshot::Sender<Result<Started, StartError>>,
    stop: oneshot::Receiver<oneshot::Sender<()>>,
) -> io::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build()?;
    std::thread::Builder::new().name("holm-cluster".to_owned()).spawn(move || {
        let stopped = runtime.block_on(async {
            match start(options).await {
                Ok(core) => {
                    let handle = Handle::current();
                    if ready.send(Ok((core, handle))).is_err() {
                        return None;
                    }
                    stop.await.ok()
                }
                Err(error) => {
                    // Nobody waits when the caller gave up.
                    let _ = ready.send(Err(error));
                    None
                }
            }
        });
        // Everything that still runs is dropped here, as in a crash; an orderly stop has ended it before.
        runtime.shutdown_timeout(END);
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    })?;
    Ok(())
}
