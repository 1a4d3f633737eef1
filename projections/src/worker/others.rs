//! A worker that is not alone: it works on its share of the shards, and does what others ordered of the view.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ShardId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Ending, Ground, Mode, Order, Worker};
use crate::projection::Projection;
use crate::spread::{Generation, Look, SpreadView};
use crate::status::State;
use crate::view::{View, ViewError};

/// Pause before the view is looked at again while it is paused, or after it could not be.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the group says, and what was seen of the view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) share: BTreeSet<ShardId>,
    /// Why the group does not have it.
    pub(crate) turned_away: Option<String>,
    pub(crate) sight: Sight,
}

/// Of a view, what a worker does something about: numbers and versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) paused: bool,
    pub(crate) present: (u64, u32),
    pub(crate) beside: Option<(u64, u32)>,
}

/// What a worker knows of the others.
pub(crate) struct Others<V> {
    seen: watch::Receiver<Seen>,
    /// What it works on, for whoever attends.
    held: watch::Sender<BTreeSet<ShardId>>,
    leave: mpsc::Sender<oneshot::Sender<()>>,
    look: fn(&V) -> Result<Look, ViewError>,
    rebuild_once: fn(&V, u32) -> Result<Option<V>, ViewError>,
    pub(super) hold_for: fn(&V, &V) -> Result<bool, ViewError>,
    pub(super) look_again: Option<Instant>,
    /// The number of the present view, when it was last looked at.
    present: Option<u64>,
    /// The number of the one that it builds, and of one that it could not.
    pub(super) building: Option<u64>,
    pub(super) gave_up: Option<u64>,
    /// It does nothing for another reason than a record: the group, or the version of the view.
    waits: bool,
}

impl<V: View> Others<V> {
    pub(crate) fn new(
        seen: watch::Receiver<Seen>,
        held: watch::Sender<BTreeSet<ShardId>>,
        leave: mpsc::Sender<oneshot::Sender<()>>,
    ) -> Self
    where
        V: SpreadView,
    {
        Self {
            seen,
            held,
            leave,
            look: V::look,
            rebuild_once: V::rebuild_once,
            hold_for: V::hold_for,
            look_again: None,
            present: None,
            building: None,
            gave_up: None,
            waits: false,
        }
    }

    pub(crate) fn worker<P: Projection<V>>(
        self,
        ground: Arc<Ground<P>>,
        view: V,
        orders: mpsc::Receiver<Order>,
    ) -> Worker<P, V> {
        Worker { others: Some(self), ..Worker::new(ground, view, orders) }
    }

    /// The shards that it works on.
    pub(super) fn shards(&self) -> BTreeSet<ShardId> {
        self.held.borrow().clone()
    }

    /// Waits until somebody did something that concerns it.
    pub(super) async fn news(&mut self) {
        let again = async {
            match self.look_again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // Its sender ends with the worker.
            _ = self.seen.changed() => {}
            () = again => {}
        }
    }

    /// Leaves the group, so that the others need not wait for the end of a lease.
    pub(super) async fn leave(self) {
        let (left, has_left) = oneshot::channel();
        if self.leave.send(left).await.is_ok() {
            // An error means that nobody attends any more.
            _ = has_left.await;
        }
    }

    /// Nothing is built by this worker, for now.
    pub(super) fn builds_nothing(&mut self) {
        self.building = None;
    }

    /// What could not be done is tried again.
    pub(super) fn begins_anew(&mut self) {
        self.gave_up = None;
    }
}

impl<P: Projection<V>, V: View> Worker<P, V> {
    /// What it should work on has changed, or the view.
    pub(super) async fn hear(&mut self) {
        let Some(others) = &mut self.others else { return };
        let Seen { share, turned_away, .. } = others.seen.borrow_and_update().clone();
        if others.shards() != share {
            let keeps = |shard| share.contains(&shard);
            let failed_elsewhere = self.failed_at.as_ref().is_some_and(|it| !keeps(it.shard()));
            others.held.send_replace(share);
            others.builds_nothing();
            self.rebuild = None;
            if self.mode == Mode::Failed && failed_elsewhere {
                // Whoever has that shard now meets the record.
                (self.mode, self.failed_at) = (Mode::Running, None);
                self.ground.board.well();
            }
        }
        if let Some(reason) = turned_away {
            return self.waits_because(&reason);
        }
        if self.mode != Mode::Starting {
            self.look_around().await;
        }
    }

    /// Looks at the view and does what follows. Orders of this member are done by then, so what it sees is never older than they are.
    pub(super) async fn look_around(&mut self) {
        let Some(look) = self.look().await else { return };
        if look.present.number == 0 {
            // Somebody removed the view; who goes on makes it anew.
            return;
        }
        let Some(others) = &mut self.others else { return };
        let before = others.present.replace(look.present.number);
        if before.is_some_and(|before| before != look.present.number) {
            self.switched();
        }
        if look.paused {
            return self.is_paused();
        }
        if self.mode == Mode::Paused {
            self.mode = Mode::Running;
            self.ground.board.state(State::Running);
        }
        let mine = self.ground.identity.version;
        let stored = look.present.version;
        match stored.cmp(&mine) {
            Ordering::Equal => self.is_of_my_version(),
            Ordering::Less => return self.is_outdated(stored, look.beside).await,
            Ordering::Greater => {
                let reason =
                    format!("the view is of version {stored}, newer than {mine} of this program");
                self.waits_because(&reason);
            }
        }
        self.help_to_build(look.beside).await;
    }

    pub(super) async fn look(&mut self) -> Option<Look> {
        let look = self.others.as_ref()?.look;
        let looked = self.blocking(look).await;
        let others = self.others.as_mut()?;
        others.look_again = None;
        match looked {
            Ok(look) => Some(look),
            Err(error) => {
                tracing::debug!(projection = self.ground.identity.name, %error, "a view is looked at again");
                others.look_again = Some(Instant::now() + LOOK_AGAIN);
                None
            }
        }
    }

    pub(super) fn is_paused(&mut self) {
        if self.mode != Mode::Paused {
            self.pause();
        }
        if let Some(others) = &mut self.others {
            others.look_again = Some(Instant::now() + LOOK_AGAIN);
        }
    }

    fn is_of_my_version(&mut self) {
        if self.others.as_mut().is_some_and(|others| std::mem::take(&mut others.waits)) {
            (self.mode, self.failed_at) = (Mode::Running, None);
            self.ground.board.well();
        }
    }

    /// Does nothing until the view is another one.
    fn waits_because(&mut self, reason: &str) {
        let waits = self.others.as_mut().is_some_and(|it| std::mem::replace(&mut it.waits, true));
        if !waits || self.mode != Mode::Failed {
            self.stop_at(reason);
        }
    }

    /// The view is of an older version: it stays as it is until one of this version is built.
    async fn is_outdated(&mut self, stored: u32, beside: Option<Generation>) {
        let Some(others) = &mut self.others else { return };
        others.waits = true;
        self.mode = Mode::Failed;
        let (mine, once) = (self.ground.identity.version, others.rebuild_once);
        let grows = beside.as_ref().is_some_and(|it| it.version >= mine);
        let beside = if grows {
            beside
        } else {
            match self.blocking(move |view| once(view, mine)).await {
                Ok(_) => self.look().await.and_then(|look| look.beside),
                Err(error) => {
                    if let Some(others) = &mut self.others {
                        others.look_again = Some(Instant::now() + LOOK_AGAIN);
                    }
                    return self.ground.board.troubled(State::Failed, &error.to_string());
                }
            }
        };
        self.help_to_build(beside).await;
        self.ground.board.troubled(State::Failed, &Ending::Outdated { stored }.to_string());
    }
}
