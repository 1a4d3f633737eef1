//! What a projection says about itself at any time, for nothing: where it is and how it feels.

use std::time::Duration;

use holm_runtime::bus::Position;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::rate::Rate;

/// How fast one side goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    /// Facts that it handled.
    pub(crate) facts: Rate,
    /// Records that it has gone beyond, of interest or not: that is what it has before it, too.
    pub(crate) records: Rate,
}

impl Pace {
    fn since(now: Duration) -> Self {
        Self { facts: Rate::since(now), records: Rate::since(now) }
    }
}

/// What a projection is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It opens its view.
    #[default]
    Starting,
    /// It handles what comes.
    Running,
    /// It tries a record, or its view, again.
    Retrying,
    /// It was told to pause, and stays so over restarts.
    Paused,
    /// It cannot go on and waits to be resumed or rebuilt. A restart tries again.
    Failed,
    /// It was told to stop.
    Stopped,
}

impl State {
    /// Its name, as it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Where a projection is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Everything up to here is in the view, or was set aside.
    pub position: Position,
    /// How far the view is that is built beside the present one, when one is.
    pub rebuild: Option<Position>,
    /// Why the last rebuild ended without a switch.
    pub rebuild_error: Option<String>,
    /// What last went wrong; none once it goes on.
    pub last_error: Option<String>,
    /// Facts that it handled since this process began.
    pub handled: u64,
    pub(crate) pace: Pace,
    /// The pace of the view that is built beside.
    pub(crate) pace_beside: Pace,
    /// Where it stands is known: from then on what moves is its own doing.
    placed: bool,
    /// What the group said last, of a projection that is shared.
    group: Position,
}

/// The place where the worker writes its status and others read it.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) status: watch::Sender<Status>,
    began: Instant,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { status: watch::Sender::new(Status::default()), began: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn state(&self, state: State) {
        self.status.send_modify(|status| status.state = state);
    }

    pub(crate) fn troubled(&self, state: State, reason: &str) {
        self.status.send_modify(|status| {
            status.state = state;
            status.last_error = Some(reason.to_owned());
        });
    }

    /// Everything up to here is in the view. What was said once is not taken back. The first word says where it begins.
    pub(crate) fn reach(&self, position: &Position) {
        let now = self.elapsed();
        self.status.send_if_modified(|status| {
            let moved = advance(&mut status.position, position);
            if std::mem::replace(&mut status.placed, true) {
                status.pace.records.count(moved, now);
            }
            moved > 0
        });
    }

    /// All members of a shared projection together are here. That is never less than before, unless somebody set it back.
    pub(crate) fn group_is_at(&self, position: &Position) {
        self.status.send_if_modified(|status| {
            let group = std::mem::replace(&mut status.group, position.clone());
            let set_back = group.0.iter().filter(|(shard, offset)| position.of(**shard) < **offset);
            let set_back: Vec<_> = set_back.map(|(shard, _)| *shard).collect();
            for shard in &set_back {
                status.position.0.insert(*shard, position.of(*shard));
            }
            !set_back.is_empty()
        });
        self.reach(position);
    }

    /// A view is built beside from now on.
    pub(crate) fn begin_rebuild(&self) {
        let pace = Pace::since(self.elapsed());
        self.status.send_modify(|status| {
            (status.rebuild, status.rebuild_error) = (Some(Position::default()), None);
            status.pace_beside = pace;
        });
    }

    /// The view beside begins here: what is half built already was not built now.
    pub(crate) fn builds_from(&self, position: &Position) {
        self.status.send_modify(|status| {
            advance(status.rebuild.get_or_insert_default(), position);
        });
    }

    /// Everything up to here is in the view beside.
    pub(crate) fn built(&self, position: &Position) {
        let now = self.elapsed();
        self.status.send_modify(|status| {
            let moved = advance(status.rebuild.get_or_insert_default(), position);
            status.pace_beside.records.count(moved, now);
        });
    }

    /// All members of a projection that is spread have built this much of the view beside, if this one knows of it.
    pub(crate) fn group_has_built(&self, position: &Position) {
        self.status.send_if_modified(|status| {
            status.rebuild.as_mut().is_some_and(|rebuild| advance(rebuild, position) > 0)
        });
    }

    /// No view is built beside any more.
    pub(crate) fn no_rebuild(&self) {
        self.status.send_if_modified(|status| status.rebuild.take().is_some());
    }

    /// So many facts are in the view beside.
    pub(crate) fn handled_beside(&self, facts: usize) {
        let now = self.elapsed();
        self.status.send_modify(|status| status.pace_beside.facts.count(facts as u64, now));
    }

    /// Goes on after trouble, if there was any.
    pub(crate) fn well(&self) {
        self.status.send_if_modified(|status| {
            let news = status.state != State::Running || status.last_error.is_some();
            (status.state, status.last_error) = (State::Running, None);
            news
        });
    }

    /// So many facts are in the view.
    pub(crate) fn handled(&self, facts: usize) {
        let now = self.elapsed();
        self.status.send_modify(|status| {
            status.handled += facts as u64;
            status.pace.facts.count(facts as u64, now);
        });
    }
}

/// Moves forwards, and says by how many records.
fn advance(place: &mut Position, to: &Position) -> u64 {
    let mut moved = 0;
    for (shard, offset) in &to.0 {
        let place = place.0.entry(*shard).or_default();
        moved += offset.0.saturating_sub(place.0);
        *place = (*place).max(*offset);
    }
    moved
}
