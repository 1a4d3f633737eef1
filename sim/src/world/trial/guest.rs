//! What a client of a trial has in its hands: references to entities, as in production, through one door after the other.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{AskError, CommandEnvelope, Outcome, SeededEntropy};
use holm_persistence::Pending;
use holm_runtime::{Asker, Asking, Entity, EntityRef};

use crate::world::World;
use crate::world::callers::{Caller, Refusal};
use crate::world::time::WallClock;

/// What a client of a trial holds: the way to every entity, through one door after the other.
#[derive(Clone)]
pub struct Guest {
    caller: Arc<holm_runtime::Caller>,
    entrance: Entrance,
}

impl Guest {
    pub(super) fn new(world: &World, ask_timeout: Duration, seed: u64) -> Self {
        let entrance = Entrance {
            caller: world.callers().caller(),
            next: Arc::new(std::sync::atomic::AtomicUsize::new(
                usize::try_from(seed % 64).unwrap_or_default(),
            )),
            ask_timeout,
        };
        let caller = holm_runtime::Caller::new(
            Arc::new(entrance.clone()),
            Arc::new(WallClock::right(&world.time)),
            ask_timeout,
            SeededEntropy::new(seed),
        );
        Self { caller, entrance }
    }

    /// A reference to an entity, as in production.
    pub fn entity<E: Entity>(&self, id: impl AsRef<str>) -> EntityRef<E> {
        EntityRef::new(self.caller.clone(), id)
    }

    /// The time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.entrance.caller.now()
    }

    /// Lets some time of the world pass.
    pub async fn rest(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Goes in through one door after the other.
#[derive(Clone)]
struct Entrance {
    caller: Caller,
    next: Arc<std::sync::atomic::AtomicUsize>,
    ask_timeout: Duration,
}

impl Asker for Entrance {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let next = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let door = next % self.caller.doors().max(1);
        let (caller, patience) = (self.caller.clone(), self.ask_timeout);
        let answer: Pending<_> = Box::pin(async move {
            match caller.ask(door, envelope, patience).await {
                Ok(answer) => answer,
                Err(Refusal::NobodyThere) => {
                    Err(AskError::DeadlinePassed { outcome: Outcome::NotApplied })
                }
                Err(Refusal::NoAnswer) => {
                    Err(AskError::Interrupted { reason: "no answer came".into() })
                }
            }
        });
        answer.into()
    }
}
