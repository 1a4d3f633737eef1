//! The thread on which a node carries out its policies: beside the shards, and not on the runtime of the program, which may be busy or end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holm_runtime::bus::Bus;
use holm_runtime::{Policies, Policy, ShardHost};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::start_error::StartError;

/// How long a node that stands alone waits for its policies to begin. It asks itself, which takes milliseconds.
const BEGIN: Duration = Duration::from_secs(10);

/// The policies of a node, under way. They stop when it is dropped.
pub(crate) struct PolicyThread {
    number: usize,
    begun: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl PolicyThread {
    /// Starts to carry them out; none when there is none.
    pub(crate) fn start(
        policies: Vec<Policy>,
        bus: Bus,
        host: ShardHost,
    ) -> Result<Option<Self>, StartError> {
        let number = policies.len();
        if number == 0 {
            return Ok(None);
        }
        let refused = |reason: String| StartError::Settings { reason };
        let policies =
            Policies::new(policies, bus, host).map_err(|error| refused(error.to_string()))?;
        let failed = |error: std::io::Error| StartError::Host { reason: error.to_string() };
        let runtime = Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let (begins, begun) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("holm-policies".to_owned())
            .spawn(move || {
                runtime.block_on(policies.run(begins, stopped));
                // Nobody waits when the node was dropped.
                _ = ends.send(());
            })
            .map_err(failed)?;
        Ok(Some(Self { number, begun, stop, ended: Mutex::new(Some(ended)) }))
    }

    /// Waits until each has begun.
    pub(crate) async fn begun(&self) -> Result<(), StartError> {
        let mut begun = self.begun.clone();
        let all = begun.wait_for(|begun| *begun == self.number);
        let failed = |reason: &str| StartError::Host { reason: reason.into() };
        match tokio::time::timeout(BEGIN, all).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(failed("the thread of the policies ended")),
            Err(_) => Err(failed("the policies could not begin; the log says why")),
        }
    }

    /// Lets other members take over at once, and ends the thread.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // An error means that it ended in another way.
            _ = ended.await;
        }
    }
}
