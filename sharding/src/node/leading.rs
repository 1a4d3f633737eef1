//! Whether this node leads a shard: a plain state machine from what is seen of the shard's group to what the host is told. No clock, no I/O.
//!
//! That consensus calls this node the leader of a group is not enough: it does so until another leader is heard of, also when no majority
//! answers any more. So two things are kept apart. What the host was told is *held*; what was seen of the group's leadership at the present
//! term is *watched*, and remembered when the host's is over. Silence that ended a leadership has not ended because of that, so the shard is
//! opened again only when a majority was heard again, and openings that fail are tried at growing distances.
//!
//! Silence counts as far as this thread could have heard something: a process that was not running for a while has not been left by
//! its majority, whose answers are waiting to be read. Nor does the silence of a group that rests count: it was asked for. It begins to
//! count when the group wakes, which it does when one of the others' nodes falls silent.

use std::time::Duration;

use tokio::time::Instant;

use super::messages::LeadPhase;

/// How often somebody must look for silence to be counted in full.
pub(super) const PULSE: Duration = Duration::from_millis(200);

/// Time for a new leader to find its majority before the opening is given up. Longer than for one that serves, because nobody is kept from
/// anything better, and because an opening that is begun anew waits for the same answers again.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);

/// Pause before a shard is opened again after trouble. It doubles with each trouble in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause: short against the deadline of a command.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A leadership that served as long as this without trouble has none.
const STEADY: Duration = Duration::from_secs(10);

/// What one look at the group shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// The term at which this node leads the group; none when it does not, or when the group has failed here.
    pub(super) term: Option<u64>,
    /// This node alone is a majority.
    pub(super) alone: bool,
    /// How long ago a majority last acknowledged this leadership; none when it has not yet.
    pub(super) silence: Option<Duration>,
    /// The group rests: the others were asked to be silent, and their nodes live.
    pub(super) rests: bool,
}

/// What to tell the host, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Leads no longer at this term.
    pub(super) step_down: Option<u64>,
    /// Opens the shard at this term.
    pub(super) open: Option<u64>,
}

/// Whether this node leads one shard, and how far that is.
#[derive(Debug)]
pub(super) struct Leading {
    /// How long an acknowledgement of a majority counts: the leader's lease.
    lease: Duration,
    held: Option<Held>,
    watched: Option<Watched>,
}

/// What the host was told.
#[derive(Debug, Clone, Copy)]
struct Held {
    term: u64,
    phase: LeadPhase,
    /// When this phase began.
    since: Instant,
}

/// The group's leadership here at one term.
#[derive(Debug, Clone, Copy)]
struct Watched {
    term: u64,
    since: Instant,
    looked: Instant,
    /// How long the majority has been silent beyond the lease, as far as somebody looked.
    silent: Duration,
    /// Whether the shard was opened at this term before.
    opened: bool,
    troubles: u32,
    /// Not opened again before.
    rests_until: Instant,
}

impl Leading {
    /// Leads nothing yet.
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, held: None, watched: None }
    }

    /// Term and phase of a leadership here.
    pub(super) fn here(&self) -> Option<(u64, LeadPhase)> {
        self.held.map(|held| (held.term, held.phase))
    }

    /// Whether the host has served at this term for a pulse or longer: by then it must know.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.held.is_some_and(|held| held.phase == LeadPhase::Serving && now - held.since > PULSE)
    }

    /// Takes in one look and says what follows.
    pub(super) fn judge(&mut self, seen: Seen, now: Instant) -> Orders {
        let Some(term) = seen.term else {
            self.watched = None;
            return Orders { step_down: self.end(), open: None };
        };
        let fresh = seen.silence.is_some_and(|silence| silence < self.lease);
        let heard = seen.alone || seen.rests || fresh;
        let lease = self.lease;
        let watched = self.watch(term, now);
        let new = seen.silence.is_none() && now - watched.since < lease;
        watched.take_look(heard || new, now);
        let watched = *watched;
        let over = self
            .held
            .is_some_and(|held| held.term != term || watched.silent >= patience(held.phase, lease));
        let step_down = if over { self.end() } else { None };
        // A first opening waits for the majority by itself; a later one needs it from the beginning.
        let may_open = (heard || !watched.opened) && now >= watched.rests_until;
        if self.held.is_some() || !may_open {
            return Orders { step_down, open: None };
        }
        self.watch(term, now).opened = true;
        self.held = Some(Held { term, phase: LeadPhase::Opening, since: now });
        Orders { step_down, open: Some(term) }
    }

    /// The shard is open at this term; false when that leadership is over meanwhile.
    pub(super) fn opened(&mut self, term: u64, now: Instant) -> bool {
        match &mut self.held {
            Some(held) if held.term == term && held.phase == LeadPhase::Opening => {
                *held = Held { term, phase: LeadPhase::Serving, since: now };
                true
            }
            _ => false,
        }
    }

    /// The opening at this term failed, or a leadership that served at it can write no more. True when that was news: it is over then, and
    /// the shard is opened again after a rest.
    pub(super) fn trouble(&mut self, term: u64, phase: LeadPhase, now: Instant) -> bool {
        let Some(held) = self.held.filter(|held| (held.term, held.phase) == (term, phase)) else {
            return false;
        };
        self.held = None;
        let watched = self.watch(term, now);
        if phase == LeadPhase::Serving && now - held.since > STEADY {
            watched.troubles = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << watched.troubles.min(16)).min(LONGEST_PAUSE);
        watched.troubles += 1;
        watched.rests_until = now + pause;
        true
    }

    /// Begins to hand a leadership over; false when there is none that serves.
    pub(super) fn begin_hand_off(&mut self) -> bool {
        match &mut self.held {
            Some(held) if held.phase == LeadPhase::Serving => {
                held.phase = LeadPhase::HandingOff;
                true
            }
            _ => false,
        }
    }

    /// Ends what the host was told; its term, when there was something.
    pub(super) fn end(&mut self) -> Option<u64> {
        self.held.take().map(|held| held.term)
    }

    fn watch(&mut self, term: u64, now: Instant) -> &mut Watched {
        match &mut self.watched {
            Some(watched) if watched.term == term => {}
            other => {
                *other = Some(Watched {
                    term,
                    since: now,
                    looked: now,
                    silent: Duration::ZERO,
                    opened: false,
                    troubles: 0,
                    rests_until: now,
                });
            }
        }
        self.watched.as_mut().expect("it was put there")
    }
}

impl Watched {
    fn take_look(&mut self, heard: bool, now: Instant) {
        let since = now - std::mem::replace(&mut self.looked, now);
        self.silent = if heard { Duration::ZERO } else { self.silent + since.min(PULSE) };
    }
}

/// How long beyond the lease a majority may be silent. Together with the lease, one that serves has twice its length: as long as the
/// others need to elect another leader.
fn patience(phase: LeadPhase, lease: Duration) -> Duration {
    match phase {
        LeadPhase::Opening => OPENING_PATIENCE,
        LeadPhase::Serving | LeadPhase::HandingOff => lease,
    }
}

#[cfg(test)]
mod tests;
