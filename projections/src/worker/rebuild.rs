//! Building a view anew beside the present one, which is read and kept up to date until the switch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ErrorKind;
use holm_runtime::FailureKind;
use holm_runtime::bus::{FeedError, Position};

use super::pass::{Pass, Side};
use super::{Ending, Ground, Mode, Worker};
use crate::observer::Notice;
use crate::projection::Projection;
use crate::status::State;
use crate::view::{View, ViewError};

/// How often the ends of the logs are run after before the present view is made to wait. Each lap is as long as what was written during the one before.
const LAPS: usize = 3;

/// How long the present view waits for the new one to reach it.
const LAST_LAP: Duration = Duration::from_secs(10);

/// Pause before the ends of the logs are asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A view that is being built.
pub(super) struct Rebuild<V> {
    view: V,
    /// Ends when the view is near the ends of the logs.
    pub(super) near: Pin<Box<dyn Future<Output = Result<(), Ending>> + Send>>,
}

impl<P: Projection<V>, V: View> Worker<P, V> {
    /// From zero, whatever was half built.
    pub(super) async fn begin_rebuild(&mut self) -> Result<(), ViewError> {
        self.rebuild = None;
        let fresh = self.blocking(V::begin_rebuild).await?;
        self.build(fresh);
        Ok(())
    }

    pub(super) fn build(&mut self, view: V) {
        self.ground.board.begin_rebuild();
        let near = Box::pin(come_near(Arc::clone(&self.ground), view.clone()));
        self.rebuild = Some(Rebuild { view, near });
    }

    /// The view beside is near, or cannot be built.
    pub(super) async fn built(&mut self, built: Result<(), Ending>) {
        let Some(rebuild) = self.rebuild.take() else { return };
        match built {
            Ok(()) => {}
            // Another version began it.
            Err(Ending::Outdated { .. }) => match self.begin_rebuild().await {
                Ok(()) => return,
                Err(error) => return self.give_up(&error.to_string()),
            },
            Err(ending) => return self.give_up(&ending.to_string()),
        }
        // Nothing is written to the present view now, because whoever reads on was dropped to come here.
        let reached = self.ground.board.status.borrow().position.clone();
        let last_lap = catch_up(&self.ground, &rebuild.view, &reached);
        match tokio::time::timeout(LAST_LAP, last_lap).await {
            Err(_) => return self.build(rebuild.view),
            Ok(Err(ending)) => return self.give_up(&ending.to_string()),
            Ok(Ok(())) => {}
        }
        let view = rebuild.view;
        match self.blocking(move |present| present.switch_to(view)).await {
            Err(error) => self.give_up(&error.to_string()),
            Ok(()) => {
                tracing::info!(
                    projection = self.ground.identity.name,
                    "a rebuilt view is in place"
                );
                self.ground.board.status.send_modify(|status| {
                    (status.rebuild, status.last_error) = (None, None);
                    status.state = State::Running;
                });
                (self.mode, self.failed_at) = (Mode::Running, None);
                self.ground.notice(&Notice::Switched);
            }
        }
    }

    fn give_up(&self, reason: &str) {
        tracing::error!(projection = self.ground.identity.name, reason, "a rebuild stopped");
        self.ground.board.status.send_modify(|status| {
            status.rebuild = None;
            status.rebuild_error = Some(reason.to_owned());
        });
        self.ground.failures.tell(FailureKind::RebuildFailed, None, reason);
        self.ground.notice(&Notice::Failed { reason });
    }
}

async fn come_near<P: Projection<V>, V: View>(
    ground: Arc<Ground<P>>,
    view: V,
) -> Result<(), Ending> {
    for _ in 0..LAPS {
        let ends = ends(&ground).await?;
        catch_up(&ground, &view, &ends).await?;
    }
    Ok(())
}

/// Reads on until everything up to `target` is in the view.
async fn catch_up<P: Projection<V>, V: View>(
    ground: &Arc<Ground<P>>,
    view: &V,
    target: &Position,
) -> Result<(), Ending> {
    let reached = |position: &Position| position.has_reached(target);
    loop {
        match Pass::begin(ground, view, Side::Beside).await?.run_until(reached).await {
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
