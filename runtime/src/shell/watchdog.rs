//! The watchdog of a host: tells of a handler that does not come back while it still runs. It looks from a thread on which no handler runs.
//!
//! It needs no clock: two looks that are its patience apart and see the same run of a handler saw it run for at least so long. What it tells names the shard, the
//! type and the command; of which entity is told by the shard itself, when the handler comes back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use holm_core::ShardId;

use super::seat::Board;
use crate::engine::Run;
use crate::failure::{FailureKind, Subject};
use crate::failures::Outlet;
use crate::registry::Registry;

/// Limits `slow_handler` after which a handler counts as one that does not come back: a second by default. Whoever is only slow says so at its end, and one that
/// panics takes its time to say where.
const LIMITS: u32 = 10;

/// The shortest time between two looks: a limit below it is kept when the handler comes back.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

/// What is watched, and who hears of it.
pub(crate) struct Watchdog {
    /// By the number of the shard.
    pub(crate) boards: Vec<Arc<Board>>,
    pub(crate) registry: Registry,
    pub(crate) limit: Duration,
    /// The host is gone when this is, or takes nothing any more.
    pub(crate) failures: Weak<Outlet>,
}

impl Watchdog {
    pub(crate) async fn run(self) {
        let mut seen: Vec<Option<Run>> = vec![None; self.boards.len()];
        let mut told = seen.clone();
        loop {
            tokio::time::sleep(self.patience()).await;
            let Some(failures) = self.failures.upgrade().filter(|it| !it.is_closed()) else {
                return;
            };
            for (shard, board) in (0..).map(ShardId).zip(&self.boards) {
                let at = shard.0 as usize;
                let run = board.running();
                let before = std::mem::replace(&mut seen[at], run);
                if let Some(stuck) = run
                    && before == run
                    && told[at].replace(stuck) != run
                {
                    self.tell(shard, stuck, &failures);
                }
            }
        }
    }

    fn patience(&self) -> Duration {
        self.limit.saturating_mul(LIMITS).max(SHORTEST_LOOK)
    }

    fn tell(&self, shard: ShardId, run: Run, failures: &Outlet) {
        let (kind, command) = run.of();
        let kind = self.registry.kind_at(kind);
        let (entity_type, command) = (kind.name(), kind.command_name(command));
        let reason = format!(
            "`{command}` of an entity of type `{entity_type}` has run for more than {} ms and has not come back; its shard waits, and the others on its thread",
            self.patience().as_millis()
        );
        tracing::error!(%shard, entity_type, command, reason, "a handler does not come back");
        failures.offer(failures.fact(FailureKind::SlowHandler, Subject::Shard(shard), &*reason));
    }
}
