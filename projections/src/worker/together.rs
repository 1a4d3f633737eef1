//! Building a view anew by all who write to it: each its share, and whoever finds all shards there makes the switch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ShardId;
use holm_runtime::bus::Position;
use tokio::time::Instant;

use super::others::LOOK_AGAIN;
use super::pass::{Pass, Side};
use super::rebuild::come_near;
use super::{Ending, Ground, Worker};
use crate::projection::Projection;
use crate::spread::Generation;
use crate::view::{View, ViewError};

/// How long the last records of a rebuilt view are waited for, and the pause between two tries: those who write wait meanwhile.
const LAST_LAP: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Pause between two looks whether a rebuilt view is near in all shards.
const NEAR_YET: Duration = Duration::from_millis(500);

impl<P: Projection<V>, V: View> Worker<P, V> {
    /// Builds its share of what grows beside, when that is of its version.
    pub(super) async fn help_to_build(&mut self, beside: Option<Generation>) {
        let mine = self.ground.identity.version;
        let Some(others) = &mut self.others else { return };
        let of_mine = beside.filter(|it| it.version == mine);
        let number = of_mine.map(|it| it.number);
        if number.is_some() && (number == others.building || number == others.gave_up) {
            return;
        }
        others.builds_nothing();
        if self.rebuild.take().is_some() || number.is_none() {
            self.ground.board.no_rebuild();
        }
        if number.is_none() {
            return;
        }
        match self.blocking(V::half_built).await {
            Ok(Some(view)) => {
                if let Some(others) = &mut self.others {
                    others.building = number;
                }
                self.build(view);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "what grows beside is looked at again");
                if let Some(others) = &mut self.others {
                    others.look_again = Some(Instant::now() + LOOK_AGAIN);
                }
            }
        }
    }

    /// Its share is built and the switch was made, or somebody else was first, or it cannot be built.
    pub(super) async fn built_together(&mut self, built: Result<(), Ending>) {
        self.rebuild = None;
        let number = self.others.as_mut().and_then(|others| others.building.take());
        if let Err(
            ending @ (Ending::Handler { .. }
            | Ending::Prepare { .. }
            | Ending::Log(_)
            | Ending::View(_)),
        ) = built
        {
            let is_still_there = match self.look().await {
                Some(look) => !look.paused && look.beside.map(|it| it.number) == number,
                None => true,
            };
            if is_still_there && number.is_some() {
                if let Some(others) = &mut self.others {
                    others.gave_up = number;
                }
                self.give_up(&ending.to_string());
            }
        }
        self.look_around().await;
    }
}

/// Builds these shards of a view beside, keeps them up to date, and makes the switch when all shards are there, whoever built them.
pub(super) async fn build_share<P: Projection<V>, V: View>(
    ground: Arc<Ground<P>>,
    present: V,
    beside: V,
    shards: BTreeSet<ShardId>,
    hold_for: fn(&V, &V) -> Result<bool, ViewError>,
) -> Result<(), Ending> {
    come_near(Arc::clone(&ground), beside.clone(), Some(shards.clone())).await?;
    let following = async {
        loop {
            let mut pass = Pass::begin(&ground, &beside, Side::Beside, Some(&shards)).await?;
            match pass.run_until(|_: &Position| false).await {
                Ok(()) | Err(Ending::Overtaken) => {}
                Err(ending) => return Err(ending),
            }
        }
    };
    let switching = async {
        loop {
            tokio::time::sleep(NEAR_YET).await;
            if switch(&ground, &present, &beside, hold_for).await? {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        switched = switching => switched,
    }
}

/// True when the view beside is in its place.
async fn switch<P, V: View>(
    ground: &Ground<P>,
    present: &V,
    beside: &V,
    hold_for: fn(&V, &V) -> Result<bool, ViewError>,
) -> Result<bool, Ending> {
    let held =
        ask(ground, present, beside, move |present, beside| hold_for(present, &beside)).await;
    match held {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) if error.is_passing() => return Ok(false),
        Err(error) => return Err(Ending::View(error)),
    }
    let until = Instant::now() + LAST_LAP;
    while Instant::now() < until {
        match ask(ground, present, beside, |present, beside| present.switch_to(beside)).await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_passing() => tokio::time::sleep(TRY_AGAIN).await,
            Err(error) => return Err(Ending::View(error)),
        }
    }
    Ok(false)
}

async fn ask<P, V: View, T: Send + 'static>(
    ground: &Ground<P>,
    present: &V,
    beside: &V,
    ask: impl FnOnce(&V, V) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, ViewError> {
    let (present, beside) = (present.clone(), beside.clone());
    let under_way = Arc::clone(&ground.under_way).read_owned().await;
    let asked = tokio::task::spawn_blocking(move || {
        let answer = ask(&present, beside);
        drop((present, under_way));
        answer
    });
    asked.await.unwrap_or_else(|error| Err(ViewError::Broken { reason: error.to_string() }))
}
