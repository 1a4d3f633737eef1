//! The arbiter threads: one actix system thread makes them, waits for the word to stop, and ends them.
//!
//! The only place that names `System` and `Arbiter::new`. Several hosts in one process each have a system of their own.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use actix_rt::{Arbiter, ArbiterHandle, System};
use tokio::sync::oneshot;

use super::afterwards::Afterwards;

/// The arbiters of one host.
#[derive(Debug)]
pub(crate) struct Arbiters {
    handles: Vec<ArbiterHandle>,
    /// One on which no handler ever runs.
    beside: ArbiterHandle,
    /// One of each arbiter on which handlers run.
    afterwards: Vec<Arc<Afterwards>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Arbiters {
    /// Starts `count` arbiter threads, at least one, and one for what must go on when a handler does not come back.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let count = count.max(1);
        let afterwards: Vec<Arc<Afterwards>> = (0..count).map(|_| Arc::default()).collect();
        let begun = afterwards.clone();
        let thread =
            std::thread::Builder::new().name("holm-system".to_owned()).spawn(move || {
                run(count + 1, &begun, &ready, stopped);
            })?;
        let mut handles = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the actix system ended before it began")))?;
        let beside = handles.pop().ok_or_else(|| io::Error::other("there is no arbiter"))?;
        let (stop, thread) = (Mutex::new(Some(stop)), Mutex::new(Some(thread)));
        Ok(Self { handles, beside, afterwards, stop, thread })
    }

    /// The arbiter of the `index`th shard.
    pub(crate) fn of(&self, index: usize) -> &ArbiterHandle {
        &self.handles[index % self.handles.len()]
    }

    /// The arbiter of what looks at the shards and tells of them.
    pub(crate) fn beside(&self) -> &ArbiterHandle {
        &self.beside
    }

    /// What is done on each arbiter when its shards have had their turns.
    pub(crate) fn afterwards(&self) -> &[Arc<Afterwards>] {
        &self.afterwards
    }

    /// Tells all threads to end; gives the thread to wait for, the first time.
    pub(crate) fn stop(&self) -> Option<JoinHandle<()>> {
        let stop = self.stop.lock().expect("nobody panics while holding it").take();
        // The system thread may be gone already; then there is nothing to stop.
        stop.map(|stop| stop.send(()));
        self.thread.lock().expect("nobody panics while holding it").take()
    }
}

impl Drop for Arbiters {
    fn drop(&mut self) {
        // Not joined: the last owner may be dropped on an arbiter.
        drop(self.stop());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts the system and its arbiters"
)]
fn run(
    count: usize,
    afterwards: &[Arc<Afterwards>],
    ready: &std::sync::mpsc::SyncSender<io::Result<Vec<ArbiterHandle>>>,
    stopped: oneshot::Receiver<()>,
) {
    let system = System::new();
    system.block_on(async {
        let arbiters: io::Result<Vec<Arbiter>> = (0..count).map(|_| Arbiter::try_new()).collect();
        let arbiters = match arbiters {
            Ok(arbiters) => arbiters,
            Err(error) => {
                // Whoever started it has gone, and with it the wish to know.
                _ = ready.send(Err(error));
                return;
            }
        };
        let handles: Vec<_> = arbiters.iter().map(Arbiter::handle).collect();
        for (arbiter, afterwards) in handles.iter().zip(afterwards) {
            arbiter.spawn(Arc::clone(afterwards).run());
        }
        if ready.send(Ok(handles)).is_err() {
            return;
        }
        // An error means that every owner is gone, which is a reason to stop as well.
        _ = stopped.await;
        for arbiter in &arbiters {
            arbiter.stop();
        }
        for arbiter in arbiters {
            // A panic there was caught and reported by its own thread.
            _ = arbiter.join();
        }
    });
}
