//! What a worker can be told. Orders are done one after the other, between two steps of reading.

use std::sync::Arc;
use std::time::Duration;

use holm_runtime::bus::{Fact, Position};
use tokio::sync::oneshot;

use super::pass::Side;
use super::record::{set_aside_of, tell_of};
use super::{Ground, Mode, Others, Worker, pass};
use crate::handle::OrderError;
use crate::projection::Projection;
use crate::view::{Change, SetAside, View, ViewError, WriteError};

/// Longest time that one order may take while it waits for a log or for the view.
const PATIENCE: Duration = Duration::from_secs(30);

type Done<T> = oneshot::Sender<Result<T, OrderError>>;

pub(crate) enum Order {
    Pause { done: Done<()> },
    Resume { done: Done<()> },
    Rebuild { done: Done<()> },
    SetPosition { position: Position, done: Done<()> },
    SetAside { done: Done<Vec<SetAside>> },
    RetryParked { done: Done<(usize, usize)> },
    SkipFailed { done: Done<SetAside> },
    Stop { done: oneshot::Sender<()> },
}

impl<P: Projection<V>, V: View> Worker<P, V> {
    pub(super) async fn obey(&mut self, order: Order) {
        if self.mode == Mode::Starting {
            // An order that overtakes the opening waits for it: what is stored comes first.
            match pass::adopt(&self.ground, &self.view).await {
                Ok(stored) => self.opened(stored).await,
                Err(ending) => self.ended(ending).await,
            }
        }
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Pause { done } => _ = done.send(self.order_pause().await),
            Order::Resume { done } => _ = done.send(self.order_resume().await),
            Order::Rebuild { done } => _ = done.send(self.order_rebuild().await),
            Order::SetPosition { done, .. } => {
                let reason =
                    "the position of a view moves with what is in it; rebuild it".to_owned();
                _ = done.send(Err(OrderError::Refused { reason }));
            }
            Order::SetAside { done } => tell(&self.ground, &self.view, done),
            Order::RetryParked { done } => {
                let retried = tokio::time::timeout(PATIENCE, self.retry_parked()).await;
                _ = done.send(retried.unwrap_or_else(|_| Err(too_long())));
            }
            Order::SkipFailed { done } => {
                let skipped = tokio::time::timeout(PATIENCE, self.skip_failed()).await;
                _ = done.send(skipped.unwrap_or_else(|_| Err(too_long())));
            }
            Order::Stop { done } => _ = done.send(()),
        }
    }

    async fn order_pause(&mut self) -> Result<(), OrderError> {
        self.blocking(|view| view.set_paused(true)).await.map_err(|error| refused(&error))?;
        self.is_paused();
        Ok(())
    }

    async fn order_resume(&mut self) -> Result<(), OrderError> {
        self.blocking(|view| view.set_paused(false)).await.map_err(|error| refused(&error))?;
        self.others.as_mut().map(Others::begins_anew);
        self.go_on().await;
        Ok(())
    }

    async fn order_rebuild(&mut self) -> Result<(), OrderError> {
        if self.mode == Mode::Paused {
            let reason = "it is paused; resume it first".to_owned();
            return Err(OrderError::Refused { reason });
        }
        self.begin_rebuild().await.map_err(|error| refused(&error))
    }

    /// Handles again what was parked: how many are in the view now, and how many stay.
    async fn retry_parked(&mut self) -> Result<(usize, usize), OrderError> {
        let parked = self.blocking(V::set_aside).await.map_err(|error| refused(&error))?;
        let (mut taken_up, mut left) = (0, 0);
        for place in parked.iter().filter(|record| record.parked) {
            let (bus, interest) = (&self.ground.bus, &self.ground.interest);
            let facts = bus.facts_at(place.shard, place.offset, interest).await;
            let facts: Arc<[Fact]> = facts.map_err(|error| refused(&error))?.into();
            let taken = Some((place.shard, place.offset));
            let change = Change { taken_up: taken, ..Change::default() };
            match pass::write(
                &self.ground,
                Side::Beside,
                &self.view,
                change,
                &facts,
                0..facts.len(),
            )
            .await
            {
                Ok(()) => {
                    taken_up += 1;
                    self.ground.count("handled", facts.len());
                }
                Err(WriteError::Handler(_)) => left += 1,
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok((taken_up, left))
    }

    /// Leaves out the record that it stopped at, and goes on behind it.
    async fn skip_failed(&mut self) -> Result<SetAside, OrderError> {
        let Some(failed) = self.failed_at.clone() else {
            let reason = "it did not stop at a record".to_owned();
            return Err(OrderError::Refused { reason });
        };
        let (shard, offset) = (failed.shard(), failed.offset());
        let ground = Arc::clone(&self.ground);
        let record = ground.bus.facts_at(shard, offset, &ground.interest).await;
        let record = record.map_err(|error| refused(&error))?;
        let stored = pass::adopt(&ground, &self.view).await;
        let from = stored.map_err(|error| refused(&error))?.position.of(shard);
        let reason = ground.board.status.borrow().last_error.clone().unwrap_or_default();
        let set_aside = set_aside_of(&ground, &record, reason, false);
        let change = Change {
            moves: vec![(shard, from, offset)],
            set_aside: vec![set_aside.clone()],
            taken_up: None,
        };
        let nothing: Arc<[Fact]> = Arc::new([]);
        let written = pass::write(&ground, Side::Beside, &self.view, change, &nothing, 0..0).await;
        written.map_err(|error| refused(&error))?;
        tell_of(&ground, &record, &set_aside);
        ground.count("skipped", record.len());
        self.go_on().await;
        Ok(set_aside)
    }
}

/// Says what was left out, beside everything else.
pub(super) fn tell<P, V: View>(ground: &Arc<Ground<P>>, view: &V, done: Done<Vec<SetAside>>) {
    let (view, under_way) = (view.clone(), Arc::clone(&ground.under_way));
    tokio::spawn(async move {
        let under_way = under_way.read_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let set_aside = view.set_aside();
            drop((view, under_way));
            set_aside
        });
        let set_aside = match read.await {
            Ok(set_aside) => set_aside.map_err(|error| refused(&error)),
            Err(error) => Err(refused(&error)),
        };
        // Whoever asked may have gone.
        let _ = done.send(set_aside);
    });
}

fn refused(error: &impl std::error::Error) -> OrderError {
    OrderError::Refused { reason: error.to_string() }
}

fn too_long() -> OrderError {
    refused(&ViewError::Passing { reason: format!("not done within {PATIENCE:?}") })
}
