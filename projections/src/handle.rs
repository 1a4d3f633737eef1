//! The handle of a running projection: what it is told and what it is asked.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{Clock, Offset, ShardId};
use holm_runtime::bus::{Bus, FeedError, Position};
use tokio::sync::{mpsc, oneshot};

use crate::progress::{self, Progress};
use crate::status::{Board, State, Status};
use crate::view::SetAside;
use crate::worker::Order;

/// Holds a running projection. Cheap to clone; the projection goes on when it is dropped.
#[derive(Clone)]
pub struct ProjectionHandle {
    name: &'static str,
    bus: Bus,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    orders: mpsc::Sender<Order>,
    together: Together,
}

/// With whom it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    Alone,
    /// How far all of them are stands in their group.
    Group,
    /// It stands in their view, which is looked at now and then.
    View,
}

impl ProjectionHandle {
    pub(crate) fn new(
        name: &'static str,
        bus: Bus,
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        Self { name, bus, clock, board, orders, together: Together::Alone }
    }

    pub(crate) fn of_a_group(self) -> Self {
        Self { together: Together::Group, ..self }
    }

    pub(crate) fn of_a_spread(self) -> Self {
        Self { together: Together::View, ..self }
    }

    /// True when several processes share it, as [`crate::Shared`] and [`crate::spread`]; false when each has all of it for itself.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.together != Together::Alone
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is and what it is doing, as of now. Costs nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.board.status.borrow().clone()
    }

    /// How far it is, with the ends of the logs, which are asked for now.
    ///
    /// # Errors
    /// [`FeedError`] when they cannot be asked for.
    pub async fn progress(&self) -> Result<Progress, FeedError> {
        if self.together == Together::Group
            && let Ok(position) = self.bus.position_of(self.name).await
        {
            self.board.group_is_at(&position);
        }
        progress::measure(self.name, &self.bus, &*self.clock, &self.board).await
    }

    /// Waits until the view holds this record, at most so long: an [`holm_runtime::EntityRef::ask_with`] replies where its command stands.
    ///
    /// # Errors
    /// [`NotPassed`] when it is not there in time, and at once when the projection has stopped.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn passed(
        &self,
        shard: ShardId,
        offset: Offset,
        patience: Duration,
    ) -> Result<(), NotPassed> {
        let settled = |status: &Status| {
            status.position.has_passed(shard, offset)
                || status.state == State::Stopped
                || (status.state == State::Failed && status.rebuild.is_none())
        };
        match self.wait_until(settled, patience).await {
            Some(status) if status.position.has_passed(shard, offset) => Ok(()),
            Some(status) => Err(NotPassed::Stopped {
                state: status.state,
                reason: status.last_error.unwrap_or_default(),
            }),
            None => {
                let position = self.status().position.of(shard);
                Err(NotPassed::NotYet { shard, offset, position })
            }
        }
    }

    /// As [`ProjectionHandle::passed`], for a place in many shards.
    ///
    /// # Errors
    /// As there.
    pub async fn passed_all(
        &self,
        position: &Position,
        patience: Duration,
    ) -> Result<(), NotPassed> {
        for (shard, offset) in &position.0 {
            self.passed(*shard, *offset, patience).await?;
        }
        Ok(())
    }

    /// Waits until the status is as wanted; none when it is not within `patience`.
    pub async fn wait_until(
        &self,
        wanted: impl FnMut(&Status) -> bool,
        patience: Duration,
    ) -> Option<Status> {
        let mut status = self.board.status.subscribe();
        let seen = tokio::time::timeout(patience, status.wait_for(wanted)).await;
        seen.ok().and_then(Result::ok).map(|status| status.clone())
    }

    /// Stops it where it is. It stays paused over restarts (law O8); what it handled before stays in the view.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn pause(&self) -> Result<(), OrderError> {
        self.order(|done| Order::Pause { done }).await
    }

    /// Lets it go on after a pause, or try again after a failure.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn resume(&self) -> Result<(), OrderError> {
        self.order(|done| Order::Resume { done }).await
    }

    /// Begins to build the view anew, from the first event, beside the present one, which readers see until the new one has caught up. What was built so
    /// far is dropped. [`Status::rebuild`] is none when it is over.
    ///
    /// A [`crate::Shared`] has no view: all its facts are handled again, from the first on, and what that did elsewhere is done again. Say it to one member.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn rebuild(&self) -> Result<(), OrderError> {
        self.order(|done| Order::Rebuild { done }).await
    }

    /// Sets how far a [`crate::Shared`] is, back to have facts handled again, or forwards to leave them out; shards that are not named stay where they are. All
    /// members pause for it, and go on then unless they were paused before. Say it to one member.
    ///
    /// # Errors
    /// [`OrderError::Refused`] for a view, whose position moves with what is in it, and when a member does not let go of its record in time.
    pub async fn set_position(&self, position: Position) -> Result<(), OrderError> {
        self.order(|done| Order::SetPosition { position, done }).await
    }

    /// The records that were left out of the view.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn set_aside(&self) -> Result<Vec<SetAside>, OrderError> {
        self.order(|done| Order::SetAside { done }).await
    }

    /// Handles again what was parked, in the order of shards and offsets, and says how many records are in the view now and how many stay parked. They come
    /// behind later facts of the same entity.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn retry_parked(&self) -> Result<(usize, usize), OrderError> {
        self.order(|done| Order::RetryParked { done }).await
    }

    /// Leaves out the record that it stopped at and goes on behind it.
    ///
    /// # Errors
    /// [`OrderError::Refused`] when it did not stop at a record.
    pub async fn skip_failed(&self) -> Result<SetAside, OrderError> {
        self.order(|done| Order::SkipFailed { done }).await
    }

    /// Ends it. The transaction that is under way still ends.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop { done }).await.is_ok() {
            // An error means that it has ended otherwise.
            let _ = stopped.await;
        }
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, OrderError>>) -> Order,
    ) -> Result<T, OrderError> {
        let (done, result) = oneshot::channel();
        self.orders.send(order(done)).await.map_err(|_| OrderError::Stopped)?;
        result.await.unwrap_or(Err(OrderError::Stopped))
    }
}

impl std::fmt::Debug for ProjectionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProjectionHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why an order was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// It was told to stop, or its process ends.
    #[error("the projection has stopped")]
    Stopped,
    /// It cannot be done now.
    #[error("not done: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// Why a record is not in the view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPassed {
    /// It is not there yet.
    #[error("shard {shard} of the view stands at {position}, before {offset}")]
    NotYet {
        /// The shard.
        shard: ShardId,
        /// What was waited for.
        offset: Offset,
        /// Where the view is.
        position: Offset,
    },
    /// The projection does not go on by itself.
    #[error("the projection has {}: {reason}", state.name())]
    Stopped {
        /// What it is.
        state: State,
        /// Why.
        reason: String,
    },
}
