//! What a member can be told. A pause and what was left out are the group's; a record that it stopped at is its own.

use std::sync::Arc;
use std::time::Duration;

use holm_core::Offset;
use holm_runtime::bus::{Bus, Fact, GroupRefusal, Position, SubscribeError};

use super::worker::{AtHand, Handler, SharedWorker, Step, work};
use crate::handle::OrderError;
use crate::status::State;
use crate::view::SetAside;
use crate::worker::{Order, set_aside_of, tell_of};

/// How long the members may take to let go: they hear of a pause within two seconds, and then end the record at hand.
const LETTING_GO: Duration = Duration::from_secs(25);

/// Pause before the group is asked again whether somebody reads.
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl<H: Handler> SharedWorker<H> {
    pub(super) async fn obey(&mut self, order: Order) {
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Pause { done } => _ = done.send(self.set_paused(true).await),
            Order::Resume { done } => _ = done.send(self.set_paused(false).await),
            Order::Rebuild { done } => _ = done.send(self.handle_all_again().await),
            Order::SetPosition { position, done } => {
                _ = done.send(self.set_position(position).await);
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

    /// What it did elsewhere is not undone, but done again.
    async fn handle_all_again(&mut self) -> Result<(), OrderError> {
        if self.member.as_ref().is_some_and(|member| member.is_paused()) {
            return Err(OrderError::Refused { reason: "it is paused; resume it first".to_owned() });
        }
        let bus = &self.ground.bus;
        let ends = bus.ends().await.map_err(|error| refused(&error))?;
        let zero = ends.0.into_keys().map(|shard| (shard, Offset::ZERO)).collect();
        self.set_position(Position(zero)).await
    }

    /// Of all members: they let go, the position is set, and whoever attends next begins there.
    async fn set_position(&mut self, position: Position) -> Result<(), OrderError> {
        let ground = Arc::clone(&self.ground);
        let (bus, name) = (&ground.bus, ground.identity.name);
        let was_paused = self.member.as_ref().is_some_and(|member| member.is_paused());
        bus.set_paused(name, true).await.map_err(|error| refused(&error))?;
        self.let_go();
        if let Some(member) = self.member.take() {
            // Where it cannot say so, its lease ends.
            _ = member.leave().await;
        }
        let set = tokio::time::timeout(LETTING_GO, set_when_free(bus, name, position)).await;
        let reason = "a member did not let go of its record in time".to_owned();
        let set = set.unwrap_or(Err(OrderError::Refused { reason }));
        if !was_paused {
            bus.set_paused(name, false).await.map_err(|error| refused(&error))?;
        }
        set
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

/// Sets the position as soon as nobody reads. The others hear of the pause when they attend.
async fn set_when_free(bus: &Bus, name: &str, position: Position) -> Result<(), OrderError> {
    let mut places = bus.position_of(name).await.map_err(|error| refused(&error))?;
    places.0.extend(position.0);
    loop {
        match bus.set_position(name, &places).await {
            Err(SubscribeError::Refused(GroupRefusal::InUse { .. })) => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            set => return set.map_err(|error| refused(&error)),
        }
    }
}

fn refused(error: &impl std::error::Error) -> OrderError {
    OrderError::Refused { reason: error.to_string() }
}
