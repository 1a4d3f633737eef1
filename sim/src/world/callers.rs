//! Those who ask: tasks on a runtime of their own, each going in through the door of one node at a time, as over its HTTP port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{Answer, AskError, CommandEnvelope, NodeId};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::process::{Ask, Process};
use super::runtime;
use super::time::WorldTime;

/// The way from a caller to a node's door, each way.
const WAY: Duration = Duration::from_millis(1);

/// How much longer than its command's deadline a caller waits for the node's word.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Door {
    node: NodeId,
    asks: Option<mpsc::Sender<Ask>>,
}

/// All doors. Never locked across an await.
#[derive(Clone, Default)]
struct Doors(Arc<Mutex<Vec<Door>>>);

impl Doors {
    fn lock(&self) -> MutexGuard<'_, Vec<Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callers of one world.
pub struct Callers {
    doors: Doors,
    time: WorldTime,
    local: LocalSet,
    runtime: Runtime,
}

/// One caller's hands. Clones are the same caller.
#[derive(Clone)]
pub struct Caller {
    doors: Doors,
    time: WorldTime,
}

/// Why a caller got no answer of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody is at the door: the command was surely not taken.
    #[error("nobody is there")]
    NobodyThere,
    /// The connection broke, or nobody answered in time: the command may have been taken.
    #[error("no answer came")]
    NoAnswer,
}

impl Callers {
    pub(super) fn new(time: &WorldTime, machines: usize, seed: u64) -> std::io::Result<Self> {
        let runtime = runtime::build(seed)?;
        let doors = Doors::default();
        let callers = Self { doors, time: time.clone(), local: LocalSet::new(), runtime };
        callers.make_room(machines);
        Ok(callers)
    }

    pub(super) fn make_room(&self, machines: usize) {
        self.doors.lock().resize_with(machines, Door::default);
    }

    /// A caller.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { doors: self.doors.clone(), time: self.time.clone() }
    }

    /// Lets a caller do something from now on.
    pub fn spawn<T: 'static>(
        &self,
        task: impl Future<Output = T> + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.local.spawn_local(task)
    }

    pub(super) fn set_door(&self, machine: usize, node: Option<NodeId>, process: Option<&Process>) {
        let mut doors = self.doors.lock();
        let Some(door) = doors.get_mut(machine) else { return };
        match process.filter(|process| process.node().is_some()) {
            Some(process) => {
                door.node = node.unwrap_or_default();
                if door.asks.as_ref().is_none_or(mpsc::Sender::is_closed) {
                    door.asks = Some(process.asks());
                }
            }
            None => door.asks = None,
        }
    }

    pub(super) fn step(&self, span: Duration) {
        self.runtime.block_on(self.local.run_until(async { tokio::time::sleep(span).await }));
    }
}

impl Caller {
    /// The time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.time.elapsed()
    }

    /// How many doors there are.
    #[must_use]
    pub fn doors(&self) -> usize {
        self.doors.lock().len()
    }

    /// The node that was last seen behind a door.
    #[must_use]
    pub fn node_at(&self, door: usize) -> NodeId {
        self.doors.lock().get(door).map(|door| door.node).unwrap_or_default()
    }

    /// Whether somebody is behind a door.
    #[must_use]
    pub fn is_open(&self, door: usize) -> bool {
        self.doors.lock().get(door).is_some_and(|door| door.asks.is_some())
    }

    /// Brings a command to a node and waits for what it says.
    ///
    /// # Errors
    /// [`Refusal`] when it says nothing.
    pub async fn ask(
        &self,
        door: usize,
        envelope: CommandEnvelope,
        patience: Duration,
    ) -> Result<Result<Answer, AskError>, Refusal> {
        tokio::time::sleep(WAY).await;
        let asks = self.doors.lock().get(door).and_then(|door| door.asks.clone());
        let asks = asks.ok_or(Refusal::NobodyThere)?;
        let (reply, answer) = oneshot::channel();
        asks.try_send(Ask { envelope, patience, reply }).map_err(|_| Refusal::NobodyThere)?;
        let answer = tokio::time::timeout(patience + GRACE, answer).await;
        tokio::time::sleep(WAY).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Refusal::NoAnswer),
        }
    }
}
