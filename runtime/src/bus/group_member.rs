//! A member of a group that keeps positions of its own: it hears which shards are its share, and reads and stores how it likes.

use std::collections::BTreeSet;

use holm_core::ShardId;
use tokio::time::Instant;

use super::door::{Bus, refused};
use super::durable::SubscribeError;
use super::group::{ATTENDANCE, Attendance, LEASE, Seat, TRY_AGAIN, is_passing};
use super::position::Position;

/// One of those who share the shards under one name, as the members of a [`super::DurableSubscription`] do: even shares, a lease of 5 s, and a shard moves from a
/// living member only after it was let go. The group stores no position for it.
///
/// A lease cannot keep a member that is cut off from working on for a moment. So where a fact must not be handled twice, the store that the position stands in
/// must refuse who does not know it.
pub struct GroupMember {
    seat: Seat,
    share: BTreeSet<ShardId>,
    lease: Option<Instant>,
    due: Instant,
}

impl GroupMember {
    pub(super) async fn join(bus: &Bus, name: &str) -> Result<Self, SubscribeError> {
        let seat = Seat::of(bus, name)?;
        let due = Instant::now();
        let mut joined = Self { seat, share: BTreeSet::new(), lease: None, due };
        joined.attend(&BTreeSet::new()).await?;
        Ok(joined)
    }

    /// The shards that it should work on, as of the last attendance; none when its lease is over.
    #[must_use]
    pub fn share(&self) -> &BTreeSet<ShardId> {
        &self.share
    }

    /// Waits until it is time to attend, about every 1.5 s, and does.
    ///
    /// # Errors
    /// [`SubscribeError`] when the group turns this member away. One that does not answer is asked again 200 ms later.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attend_when_due(
        &mut self,
        holding: &BTreeSet<ShardId>,
    ) -> Result<(), SubscribeError> {
        tokio::time::sleep_until(self.due).await;
        self.attend(holding).await
    }

    /// Says which shards it works on, those of the share before that it has not let go yet too, and hears which ones are its share.
    ///
    /// # Errors
    /// As [`GroupMember::attend_when_due`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attend(&mut self, holding: &BTreeSet<ShardId>) -> Result<(), SubscribeError> {
        let asked = Instant::now();
        if self.lease.is_some_and(|lease| asked > lease) {
            // Others may work on them by now.
            self.share.clear();
        }
        match self.seat.attend(&Position::default(), holding, &[], false).await {
            Ok(Attendance { reads, .. }) => {
                self.share = reads.into_iter().map(|(shard, _)| ShardId(shard)).collect();
                (self.lease, self.due) = (Some(asked + LEASE), asked + ATTENDANCE);
                Ok(())
            }
            Err(error) if is_passing(&error) => {
                tracing::debug!(?error, "a group does not answer");
                self.due = Instant::now() + TRY_AGAIN;
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Leaves the group, so that the others need not wait for the end of the lease.
    ///
    /// # Errors
    /// When the group cannot be reached. The others take over when the lease is over.
    pub async fn leave(self) -> Result<(), SubscribeError> {
        let left = self.seat.attend(&Position::default(), &BTreeSet::new(), &[], true);
        left.await.map(drop).map_err(refused)
    }
}

impl std::fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMember")
            .field("member", &self.seat.member())
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}
