//! Building a view anew beside the present one, which is read and kept up to date until the switch.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{ErrorKind, ShardId};
use holm_runtime::FailureKind;
use holm_runtime::bus::{FeedError, Position};
use tokio::time::Instant;

use super::pass::{Pass, Side};
use super::together::build_share;
use super::{Ending, Ground, Mode, Others, Worker};
use crate::observer::Notice;
use crate::projection::Projection;
use crate::status::State;
use crate::view::{View, ViewError};

/// How often the ends of the logs are run after before the present view is made to wait. Each lap is as long as what was written during the one before.
const LAPS: usize = 3;

/// How long the present view waits for the new one to reach it.
const LAST_LAP: Duration = Duration::from_secs(10);

/// Pause before a switch that could not be made is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Pause before the ends of the logs are asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A view that is being built.
pub(super) struct Rebuild<V> {
    view: V,
    /// Ends when the view is near the ends of the logs.
    pub(super) near: Near,
}

type Near = Pin<Box<dyn Future<Output = Result<(), Ending>> + Send>>;

impl<P: Projection<V>, V: View> Worker<P, V> {
    /// From zero, whatever was half built.
    pub(super) async fn begin_rebuild(&mut self) -> Result<(), ViewError> {
        self.rebuild = None;
        let fresh = self.blocking(V::begin_rebuild).await?;
        if let Some(others) = &mut self.others {
            others.begins_anew();
            self.look_around().await;
            return Ok(());
        }
        self.build(fresh);
        Ok(())
    }

    pub(super) fn build(&mut self, view: V) {
        self.ground.board.begin_rebuild();
        let (ground, beside) = (Arc::clone(&self.ground), view.clone());
        let near: Near = match &self.others {
            None => Box::pin(come_near(ground, beside, None)),
            Some(others) => {
                let (present, shards) = (self.view.clone(), others.shards());
                Box::pin(build_share(ground, present, beside, shards, others.hold_for))
            }
        };
        self.rebuild = Some(Rebuild { view, near });
    }

    /// The view beside is near, or cannot be built.
    pub(super) async fn built(&mut self, built: Result<(), Ending>) {
        if self.others.is_some() {
            return self.built_together(built).await;
        }
        let Some(rebuild) = self.rebuild.take() else { return };
        match built {
            Ok(()) => {}
            Err(Ending::Paused) => return self.is_paused(),
            // Another version began it.
            Err(Ending::Outdated { .. }) => match self.begin_rebuild().await {
                Ok(()) => return,
                Err(error) => return self.give_up(&error.to_string()),
            },
            Err(ending) => return self.give_up(&ending.to_string()),
        }
        // Nothing is written to the present view now, because whoever reads on was dropped to come here.
        let reached = self.ground.board.status.borrow().position.clone();
        let last_lap = catch_up(&self.ground, &rebuild.view, &reached, None);
        match tokio::time::timeout(LAST_LAP, last_lap).await {
            Err(_) => return self.build(rebuild.view),
            Ok(Err(ending)) => return self.give_up(&ending.to_string()),
            Ok(Ok(())) => {}
        }
        match self.switch_to(rebuild.view).await {
            Err(error) => self.give_up(&error.to_string()),
            Ok(()) => self.switched(),
        }
    }

    /// What may go well later is tried again for as long as the present view waits for the new one.
    async fn switch_to(&mut self, rebuilt: V) -> Result<(), ViewError> {
        let until = Instant::now() + LAST_LAP;
        loop {
            let view = rebuilt.clone();
            match self.blocking(move |present| present.switch_to(view)).await {
                Err(error) if error.is_passing() && Instant::now() < until => {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                switched => return switched,
            }
        }
    }

    pub(super) fn switched(&mut self) {
        tracing::info!(projection = self.ground.identity.name, "a rebuilt view is in place");
        self.ground.board.status.send_modify(|status| {
            (status.rebuild, status.last_error) = (None, None);
            status.state = State::Running;
        });
        (self.mode, self.rebuild, self.failed_at) = (Mode::Running, None, None);
        self.others.as_mut().map(Others::builds_nothing);
        self.ground.notice(&Notice::Switched);
    }

    pub(super) fn give_up(&self, reason: &str) {
        tracing::error!(projection = self.ground.identity.name, reason, "a rebuild stopped");
        self.ground.board.status.send_modify(|status| {
            status.rebuild = None;
            status.rebuild_error = Some(reason.to_owned());
        });
        self.ground.failures.tell(FailureKind::RebuildFailed, None, reason);
        self.ground.notice(&Notice::Failed { reason });
    }
}

/// Of these shards, or of all.
pub(super) async fn come_near<P: Projection<V>, V: View>(
    ground: Arc<Ground<P>>,
    view: V,
    shards: Option<BTreeSet<ShardId>>,
) -> Result<(), Ending> {
    for _ in 0..LAPS {
        let mut ends = ends(&ground).await?;
        if let Some(shards) = &shards {
            ends.0.retain(|shard, _| shards.contains(shard));
        }
        catch_up(&ground, &view, &ends, shards.as_ref()).await?;
    }
    Ok(())
}

/// Reads on until everything up to `target` is in the view.
async fn catch_up<P: Projection<V>, V: View>(
    ground: &Arc<Ground<P>>,
    view: &V,
    target: &Position,
    shards: Option<&BTreeSet<ShardId>>,
) -> Result<(), Ending> {
    let reached = |position: &Position| position.has_reached(target);
    loop {
        match Pass::begin(ground, view, Side::Beside, shards).await?.run_until(reached).await {
            Err(Ending::Overtaken) => {}
            ended => return ended,
        }
    }
}

/// Where the logs end; it waits while a shard has no leader.
async fn ends<P>(ground: &Ground<P>) -> Result<Position, FeedError> {
    loop {
        match ground.bus.ends().await {
            Err(FeedError::Unreadable { source, .. })
                if matches!(source.kind(), ErrorKind::Retry | ErrorKind::BackOff) =>
            {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            ends => return ends,
        }
    }
}
