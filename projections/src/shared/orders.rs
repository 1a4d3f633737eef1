//! What a member can be told. A pause and what was left out are the group's; a record that it stopped at is its own.

use std::sync::Arc;

use holm_runtime::bus::Fact;

use super::worker::{AtHand, Handler, SharedWorker, Step, work};
use crate::handle::OrderError;
use crate::status::State;
use crate::view::SetAside;
use crate::worker::{Order, set_aside_of, tell_of};

impl<H: Handler> SharedWorker<H> {
    pub(super) async fn obey(&mut self, order: Order) {
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Pause { done } => _ = done.send(self.set_paused(true).await),
            Order::Resume { done } => _ = done.send(self.set_paused(false).await),
            Order::Rebuild { done } => {
                let reason = "what it did elsewhere is not undone; to have it done again, pause it and set the position of its subscription back";
                _ = done.send(Err(OrderError::Refused { reason: reason.to_owned() }));
            }
            Order::SetAside { done } => {
                let set_aside = self.ground.bus.set_aside_of(self.ground.identity.name).await;
                _ = done.send(set_aside.map_err(|error| refused(&error)));
            }
            Order::RetryParked { done } => _ = done.send(self.retry_parked().await),
            Order::SkipFailed { done } => _ = done.send(self.skip_failed().await),
            Order::Stop { done } => _ = done.send(()),
        }
    }

    /// Of all members; this one hears of it now. Resumed, it tries again what it stopped at.
    async fn set_paused(&mut self, paused: bool) -> Result<(), OrderError> {
        let (bus, name) = (&self.ground.bus, self.ground.identity.name);
        bus.set_paused(name, paused).await.map_err(|error| refused(&error))?;
        if !paused {
            self.failed = false;
            if self.at_hand.as_ref().is_some_and(|it| matches!(it.step, Step::Stopped(_))) {
                self.try_it();
            }
        }
        if let Some(member) = &mut self.member {
            member.attend_now().await.map_err(|error| refused(&error))?;
        }
        self.ground.board.state(if paused { State::Paused } else { State::Running });
        Ok(())
    }

    /// Handles again what was parked in the shards that this member reads, so that each record is handled by one.
    async fn retry_parked(&mut self) -> Result<(usize, usize), OrderError> {
        let ground = Arc::clone(&self.ground);
        let (bus, name) = (&ground.bus, ground.identity.name);
        let parked = bus.set_aside_of(name).await.map_err(|error| refused(&error))?;
        let (mut taken_up, mut left) = (0, 0);
        for SetAside { shard, offset, parked, .. } in parked {
            if !parked || !self.member.as_ref().is_some_and(|member| member.holds(shard)) {
                continue;
            }
            let record = bus.facts_at(shard, offset, &ground.interest).await;
            let record: Arc<[Fact]> = record.map_err(|error| refused(&error))?.into();
            if !matches!(self.beside(&record).await?, Some(())) {
                left += 1;
                continue;
            }
            bus.take_up(name, shard, offset).await.map_err(|error| refused(&error))?;
            ground.count("handled", record.len());
            taken_up += 1;
        }
        Ok((taken_up, left))
    }

    /// Works on a record beside what is at hand, and stays a member meanwhile. None when the handler fails.
    async fn beside(&mut self, record: &Arc<[Fact]>) -> Result<Option<()>, OrderError> {
        let mut work = work(&self.ground, record);
        loop {
            let Some(member) = &mut self.member else { return Ok(None) };
            tokio::select! {
                worked = &mut work => return Ok(worked.ok().and_then(Result::ok)),
                attended = member.attend_when_due() => {
                    attended.map_err(|error| refused(&error))?;
                }
            }
        }
    }

    /// Leaves out the record that it stopped at, and goes on behind it.
    async fn skip_failed(&mut self) -> Result<SetAside, OrderError> {
        let Some(AtHand { record, step: Step::Stopped(reason), .. }) = &self.at_hand else {
            let reason = "it did not stop at a record".to_owned();
            return Err(OrderError::Refused { reason });
        };
        let set_aside = set_aside_of(&self.ground, record, reason.clone(), false);
        let (bus, name) = (&self.ground.bus, self.ground.identity.name);
        bus.leave_out(name, set_aside.clone()).await.map_err(|error| refused(&error))?;
        tell_of(&self.ground, record, &set_aside);
        self.done("skipped");
        Ok(set_aside)
    }
}

fn refused(error: &impl std::error::Error) -> OrderError {
    OrderError::Refused { reason: error.to_string() }
}
