//! The outbox of one led shard: a plain state machine that gets each stored reaction to its entity, once.
//!
//! It learns of reactions from the log only, as letters: from a batch that just became durable, or by reading on from where it is. Inputs come by method,
//! each with the present time; what is to be done comes out of [`Outbox::poll_output`] after [`Outbox::advance`].
//!
//! Invariants:
//! - Nothing is forgotten: a reaction is done, or open in the stored progress, or behind the stored progress in the log. Until one of these holds durably
//!   it is delivered again after a crash, under the key that its place gives it, so it takes effect once (G2, G6).
//! - What was given up is never sent again once its sender may know: the decision is stored first. And nothing is sent before a step of this leadership
//!   is stored, which refuses whatever decision of an earlier one is still on its way.
//! - What is for one entity goes one after the other, in the order of the log. A timer takes its place when it is due.
//! - Few letters are in memory, and few commands under way; the rest waits in the log (G9).
//!
//! Not here: reading, asking, waiting, and who leads.

mod ledger;
mod letter;
mod limits;
mod outcome;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hashbrown::HashMap;
use holm_core::{CommandEnvelope, EntityAddress, Offset, ShardId, Timestamp};

use self::ledger::Ledger;
pub(crate) use self::letter::{Letter, Place, lane_of, letter_at, letters_in, letters_of};
pub(crate) use self::limits::OutboxLimits;
pub(crate) use self::progress::{Advance, Look, Open, Page, Progress, outbox_of};
use crate::answered::Said;
use crate::failure::FailedCommand;

/// The first pause after a failed try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest that a try in doubt may take: then it is the look through a long conversation that takes so long, and ending it helps nobody.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);

/// Letters kept in memory before their turn. With more than that waiting, a letter is read again when its turn comes.
const LETTERS_KEPT: usize = 1_024;

/// The outbox of one leadership of one shard. See the module's description.
#[derive(Debug)]
pub(crate) struct Outbox {
    shard: ShardId,
    limits: OutboxLimits,
    /// How far the log reaches.
    durable: Offset,
    /// What stands up to here may have been delivered by an earlier leader, up to this time.
    inherited: (Offset, Timestamp),
    /// A step of ours is stored. Before that a late step of an earlier leader could still give up what we deliver, so nothing is sent.
    claimed: bool,
    /// Every reaction up to here is known.
    scanned: Offset,
    scanning: bool,
    entries: BTreeMap<Place, Entry>,
    lanes: HashMap<u64, Lane>,
    /// Lanes whose first letter may go.
    ready: VecDeque<u64>,
    alarms: BTreeSet<(Timestamp, Alarm)>,
    /// The time that the clock said last.
    seen: Timestamp,
    in_flight: usize,
    letters: usize,
    ledger: Ledger,
    outputs: VecDeque<ToDo>,
}

/// What the outbox wants done.
#[derive(Debug)]
pub(crate) enum ToDo {
    /// Read the log after this offset. Answer with [`Outbox::read`].
    Read(Offset),
    /// Read the letter at this place. Answer with [`Outbox::fetched`].
    Fetch(Place),
    /// Ask this. Answer with [`Outbox::answered`].
    Ask(Place, Box<CommandEnvelope>, Try),
    /// Store this step. Answer with [`Outbox::stored`].
    Store(Box<Advance>),
    /// Something was given up; observers want to know.
    Failure(Undelivered),
    /// Another outbox of this shard went on: begin again from what is stored.
    BeginAgain,
}

/// Which try a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Try {
    /// Surely none was before: it is made once, and its outcome is told.
    First,
    /// An earlier one may have been taken, long ago: it is looked for first.
    InDoubt,
}

/// What cannot be delivered, and to whom.
#[derive(Debug)]
pub(crate) struct Undelivered {
    pub(crate) to: EntityAddress,
    pub(crate) command: FailedCommand,
    pub(crate) reason: Box<str>,
}

#[derive(Debug)]
struct Entry {
    lane: u64,
    due: Timestamp,
    letter: Option<Box<Letter>>,
    step: Step,
    /// Failures in a row that say something about the entity.
    failures: u32,
    /// Since when an earlier try may have taken effect without our knowing.
    doubt: Option<Timestamp>,
    /// Tries in a row that came to nothing, of whatever kind.
    pauses: u32,
}

/// What comes next for a reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// The command is to be sent.
    Command,
    /// That it was given up is to be stored.
    GivingUp(Box<str>),
    /// Its sender is to be told.
    Answer(Said),
}

/// The reactions for one entity, in order.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Place>,
    /// Its first letter is under way, or in `ready`, or has a pause.
    busy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A timer is due.
    Timer(Place),
    /// A lane had its pause.
    Lane(u64),
    /// Reading had its pause.
    Read,
    /// Storing had its pause.
    Store,
}

impl Outbox {
    /// Goes on from what is stored, in a log that reaches up to `durable`.
    pub(crate) fn new(
        shard: ShardId,
        limits: OutboxLimits,
        stored: Progress,
        durable: Offset,
        now: Timestamp,
    ) -> Self {
        let Progress { version, scanned, open } = stored;
        let mut outbox = Self {
            shard,
            limits,
            durable: durable.max(scanned),
            inherited: (durable, now),
            claimed: false,
            scanned,
            scanning: false,
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            alarms: BTreeSet::new(),
            seen: now,
            in_flight: 0,
            letters: 0,
            ledger: Ledger::new(version, scanned, open.keys().copied()),
            outputs: VecDeque::new(),
        };
        for (place, Open { lane, due, given_up }) in open {
            let failed = |reason| Step::Answer(outcome::given_up_as(reason));
            let step = given_up.map_or(Step::Command, failed);
            let doubt = Some(now);
            outbox.admit(now, place, Entry { due, step, doubt, ..Entry::new(lane) });
        }
        outbox
    }

    /// The log reaches up to here.
    pub(crate) fn reaches(&mut self, durable: Offset) {
        self.durable = self.durable.max(durable);
    }

    /// These are all reactions after the offset `since` up to and including `upto`, and they are durable.
    pub(crate) fn found(
        &mut self,
        now: Timestamp,
        (since, upto): (Offset, Offset),
        letters: Vec<Letter>,
    ) {
        self.reaches(upto);
        // With a hole before it, or no room for it, it is read from the log in its turn.
        if since <= self.scanned && !self.scanning && self.has_room() {
            self.take(now, upto, letters);
        }
    }

    /// The answer to [`ToDo::Read`].
    pub(crate) fn read(&mut self, now: Timestamp, read: Result<(Offset, Vec<Letter>), String>) {
        match read {
            Ok((upto, letters)) => {
                self.scanning = false;
                self.take(now, upto, letters);
            }
            Err(reason) => {
                let shard = self.shard;
                tracing::error!(%shard, reason, "the outbox cannot read on; it tries again");
                self.alarms.insert((now.plus(LONGEST_PAUSE), Alarm::Read));
            }
        }
    }

    /// The answer to [`ToDo::Fetch`].
    pub(crate) fn fetched(&mut self, now: Timestamp, place: Place, letter: Result<Letter, String>) {
        match letter {
            Ok(letter) => {
                let Some(entry) = self.entries.get_mut(&place) else { return };
                self.letters += usize::from(entry.letter.replace(Box::new(letter)).is_none());
                self.send(now, place);
            }
            Err(reason) => {
                let shard = self.shard;
                tracing::error!(%shard, reason, "a reaction cannot be read; it is tried again");
                self.in_flight -= 1;
                self.pause(now, place);
            }
        }
    }

    /// Goes on as far as it can without waiting.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        if now < std::mem::replace(&mut self.seen, now) {
            self.clock_went_back(now);
        }
        while let Some(&(at, alarm)) = self.alarms.first() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            self.ring(alarm);
        }
        while self.claimed && self.in_flight < self.limits.in_flight {
            let Some(lane) = self.ready.pop_front() else { break };
            let Some(&place) = self.lanes.get(&lane).and_then(|lane| lane.queue.front()) else {
                continue;
            };
            self.in_flight += 1;
            match self.entries.get(&place).is_some_and(|entry| entry.letter.is_some()) {
                true => self.send(now, place),
                false => self.outputs.push_back(ToDo::Fetch(place)),
            }
        }
        if !self.scanning && self.scanned < self.durable && self.has_room() {
            self.scanning = true;
            self.outputs.push_back(ToDo::Read(self.scanned));
        }
        let entries = &self.entries;
        let open = |place: &Place| {
            let entry = entries.get(place)?;
            Some(Open { lane: entry.lane, due: entry.due, given_up: None })
        };
        let claim = !self.claimed && !self.ready.is_empty();
        if let Some(step) = self.ledger.next_step(now, self.scanned, claim, open) {
            self.outputs.push_back(ToDo::Store(Box::new(step)));
        }
    }

    /// The next thing to be done.
    pub(crate) fn poll_output(&mut self) -> Option<ToDo> {
        self.outputs.pop_front()
    }

    /// When [`Outbox::advance`] must be called at the latest, whatever comes or does not come.
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        [alarm, self.ledger.due()].into_iter().flatten().min()
    }

    /// A clock that was ahead was set right. Pauses that it began would last until it is there again: none lasts longer than the longest from now on. Timers
    /// are meant for a time of day and stay.
    fn clock_went_back(&mut self, now: Timestamp) {
        let latest = now.plus(LONGEST_PAUSE);
        let pauses = |(at, alarm): (Timestamp, Alarm)| match alarm {
            Alarm::Timer(_) => (at, alarm),
            Alarm::Lane(_) | Alarm::Read | Alarm::Store => (at.min(latest), alarm),
        };
        self.alarms = std::mem::take(&mut self.alarms).into_iter().map(pauses).collect();
        self.ledger.clock_went_back(now);
    }

    fn has_room(&self) -> bool {
        self.entries.len() < self.limits.open
    }

    fn take(&mut self, now: Timestamp, upto: Offset, letters: Vec<Letter>) {
        for letter in letters {
            let place = letter.place;
            if place.offset <= self.scanned || self.entries.contains_key(&place) {
                continue;
            }
            let mut entry = Entry::new(lane_of(&letter.to));
            entry.due = letter.due.unwrap_or_default();
            entry.doubt = (place.offset <= self.inherited.0).then_some(self.inherited.1);
            if entry.due <= now && self.letters < LETTERS_KEPT {
                entry.letter = Some(Box::new(letter));
                self.letters += 1;
            }
            self.ledger.opened(now, place);
            self.admit(now, place, entry);
        }
        self.scanned = self.scanned.max(upto);
        self.reaches(upto);
    }

    fn admit(&mut self, now: Timestamp, place: Place, entry: Entry) {
        let due = entry.due;
        self.entries.insert(place, entry);
        if due > now {
            self.alarms.insert((due, Alarm::Timer(place)));
        } else {
            self.line_up(place);
        }
    }

    /// Puts a reaction at the end of its lane.
    fn line_up(&mut self, place: Place) {
        let Some(entry) = self.entries.get(&place) else { return };
        let lane = self.lanes.entry(entry.lane).or_default();
        lane.queue.push_back(place);
        if !std::mem::replace(&mut lane.busy, true) {
            self.ready.push_back(entry.lane);
        }
    }

    fn send(&mut self, now: Timestamp, place: Place) {
        let ask_timeout = self.limits.ask_timeout;
        let entry = self.entries.get(&place);
        let envelope = entry.and_then(|entry| {
            let letter = entry.letter.as_ref()?;
            // The receiver may have forgotten the key since.
            let (which, patience) = match entry.doubt {
                Some(_) => (Try::InDoubt, in_doubt_for(ask_timeout, entry.pauses)),
                None => (Try::First, ask_timeout),
            };
            let deadline = now.plus(patience);
            let envelope = match &entry.step {
                Step::Command => letter.envelope(self.shard, deadline),
                Step::Answer(said) => letter.answer(self.shard, said, deadline)?,
                Step::GivingUp(_) => return None,
            };
            Some((envelope, which))
        });
        match envelope {
            Some((envelope, which)) => {
                self.outputs.push_back(ToDo::Ask(place, Box::new(envelope), which));
            }
            // Nobody waits for the answer of what was given up.
            None => {
                self.in_flight -= 1;
                self.done(now, place, None);
            }
        }
    }

    /// The first of a lane is through; `next` is what its sender should hear, if it wants to.
    fn done(&mut self, now: Timestamp, place: Place, next: Option<Step>) {
        let Some(entry) = self.entries.get_mut(&place) else { return };
        let lane = entry.lane;
        self.leave(lane);
        let Some(entry) = self.entries.get_mut(&place) else { return };
        let told = entry.letter.as_ref().filter(|letter| letter.answered.is_some());
        match (next, told) {
            (Some(step), Some(letter)) => {
                entry.lane = lane_of(&letter.sender);
                (entry.step, entry.failures, entry.pauses) = (step, 0, 0);
                self.line_up(place);
            }
            _ => {
                self.letters -= usize::from(entry.letter.is_some());
                self.entries.remove(&place);
                self.ledger.closed(now, place);
            }
        }
    }

    /// Takes the first reaction out of a lane and lets the next one go.
    fn leave(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.queue.pop_front();
        if lane.queue.is_empty() {
            self.lanes.remove(&number);
        } else {
            self.ready.push_back(number);
        }
    }

    /// The first of a lane is tried again later, and what is behind it waits.
    fn pause(&mut self, now: Timestamp, place: Place) {
        let Some(entry) = self.entries.get_mut(&place) else { return };
        let at = now.plus(pause_after(entry.pauses));
        entry.pauses = entry.pauses.saturating_add(1);
        if self.letters > LETTERS_KEPT && entry.letter.take().is_some() {
            self.letters -= 1;
        }
        self.alarms.insert((at, Alarm::Lane(entry.lane)));
    }

    fn ring(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Timer(place) => self.line_up(place),
            Alarm::Lane(lane) => self.ready.push_back(lane),
            Alarm::Read => self.scanning = false,
            Alarm::Store => {
                if let Some(step) = self.ledger.under_way() {
                    self.outputs.push_back(ToDo::Store(Box::new(step)));
                }
            }
        }
    }
}

impl Entry {
    fn new(lane: u64) -> Self {
        let (due, step) = (Timestamp::EPOCH, Step::Command);
        Self { lane, due, letter: None, step, failures: 0, doubt: None, pauses: 0 }
    }
}

/// How long a try in doubt may take, behind so many that came to nothing: each has twice the time of the one before.
fn in_doubt_for(ask_timeout: Duration, pauses: u32) -> Duration {
    ask_timeout.saturating_mul(1 << pauses.min(16)).min(LONGEST_DOUBT.max(ask_timeout))
}

fn pause_after(pauses: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << pauses.min(16)).min(LONGEST_PAUSE)
}
