//! A shared projection inside the nodes: each is a member of one group, whose handler takes a while and fails now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holm_core::{Clock, Entropy as _, SeededEntropy};
use holm_projections::{OnFailure, Options, ProjectionHandle, Shared, State};
use holm_runtime::bus::{Bus, Fact, Interest};

use super::follower::Followed;
use crate::checks::SHARED;

/// The projection's name.
const NAME: &str = "shared";

/// How often somebody looks after it.
const LOOK: Duration = Duration::from_millis(500);

/// Most that the handler takes for one record. Little: each shard's records come one after the other.
const MOST_WORK_MS: u64 = 6;

/// One in so many records is failed on.
const FAILS: u64 = 24;

/// How long the handler rests after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(40);

/// Begins to be a member, on a node whose seed is this.
pub(super) fn share(
    bus: Bus,
    clock: Arc<dyn Clock>,
    followed: &Followed,
    seed: u64,
) -> ProjectionHandle {
    let mut options = Options::on_failure(OnFailure::fail().after_retries(u32::MAX, AFTER_FAILURE));
    options.clock = clock;
    let (handled, chance) = (followed.clone(), Arc::new(Mutex::new(SeededEntropy::new(seed))));
    let shared = Shared::new(NAME, Interest::everything()).options(options);
    let (handle, work) = shared.assemble(bus.clone(), move |record: Arc<[Fact]>| {
        let (time, fails) = {
            let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
            (Duration::from_millis(chance.below(MOST_WORK_MS)), chance.below(FAILS) == 0)
        };
        let handled = handled.clone();
        async move {
            tokio::time::sleep(time).await;
            if fails {
                return Err("not this time");
            }
            handled.handle(seed, &record);
            Ok(())
        }
    });
    drop(tokio::task::spawn_local(work));
    drop(tokio::task::spawn_local(look_after(handle.clone(), bus, followed.clone())));
    handle
}

/// Hears how far the group is, as it has stored, and lets a member go on that stopped before a log that it could not read, as an operator would.
async fn look_after(handle: ProjectionHandle, bus: Bus, followed: Followed) {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Ok(position) = bus.position_of(NAME).await {
            followed.pass(SHARED, &position);
        }
        if handle.status().state == State::Failed {
            tracing::info!(error = ?handle.status().last_error, "a member of the projection is told to go on");
            // What is refused is tried again with the next look.
            _ = handle.resume().await;
        }
    }
}
