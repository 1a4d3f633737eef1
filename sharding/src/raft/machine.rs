//! The state machine of a group as openraft sees it: it follows the committed entries in order and leaves their meaning to a [`Follower`].

use std::io;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use super::{Applied, LogId, Payload, StoredMembership, Types};

/// What a group's committed entries mean.
pub(crate) trait Follower: Send + Sync + 'static {
    /// Takes note of a committed entry and says what became of it. All replicas must come to the same answer from the same entries.
    ///
    /// # Errors
    /// When this node cannot go on, for example because its disk failed; the group then stops here.
    fn follow(&mut self, index: u64, term: u64, payload: &Bytes) -> io::Result<Applied>;

    /// Takes note of a committed entry without meaning: the first of a new leader, or a membership.
    fn pass(&mut self, index: u64, term: u64);
}

/// The state machine of a group.
pub(crate) struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    follower: Box<dyn Follower>,
}

/// Entries applied before the thread is given to others: an apply after a restart may be long, and heartbeats share the thread.
const ENTRIES_BEFORE_YIELD: usize = 32;

impl Machine {
    /// A machine whose follower has seen everything up to `applied`.
    pub(crate) fn new(
        applied: Option<LogId>,
        membership: StoredMembership,
        follower: Box<dyn Follower>,
    ) -> Self {
        Self { applied, membership, follower }
    }

    fn apply_one(
        &mut self,
        id: LogId,
        payload: EntryPayload<Payload, u64, openraft::EmptyNode>,
    ) -> io::Result<Applied> {
        let (index, term) = (id.index(), super::entry::term_of(&id));
        let applied = match payload {
            EntryPayload::Normal(Payload(bytes)) => self.follower.follow(index, term, &bytes)?,
            EntryPayload::Blank => {
                self.follower.pass(index, term);
                Applied::Accepted
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                self.follower.pass(index, term);
                Applied::Accepted
            }
        };
        self.applied = Some(id);
        Ok(applied)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let mut since_yield = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let applied = self.apply_one(entry.log_id, entry.payload)?;
            if let Some(responder) = responder {
                responder.send(applied);
            }
            since_yield += 1;
            if since_yield == ENTRIES_BEFORE_YIELD {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<NoSnapshots> {
        None
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<Types>,
        _snapshot: (),
    ) -> io::Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(None)
    }
}

/// The builder that is never asked: the log is never purged, so no replica needs a snapshot.
pub(crate) struct NoSnapshots;

impl RaftSnapshotBuilder<Types> for NoSnapshots {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the log is never purged, so there are no snapshots of it",
    )
}
