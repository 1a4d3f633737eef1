//! The tally: an entity that nobody asks. A policy tells it of writes to registers, and it writes down of which.
//!
//! So its history says what the policy did about each write: told it once, twice or not at all ([`crate::checks`], promises G2 and G6).

use holm_persistence::{CodecError, decode};
use holm_runtime::{
    Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Policy, Then,
};
use serde::{Deserialize, Serialize};

use crate::history::SeenEvent;
use crate::register::{Register, RegisterEvent};

/// The policy's name.
pub const TELLS: &str = "tells-of-writes";

/// How many tallies there are. Few, so that what is told to one comes from every shard.
const TALLIES: u64 = 5;

/// One in so many values is told of: enough to have some on their way at any time, and few enough to leave time for everything else.
const ONE_IN: u64 = 4;

/// How often it was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often.
    pub told: u64,
}

/// A fact about a tally.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum TallyEvent {
    /// It was told of an event, which stands there.
    Told {
        /// The shard.
        shard: u32,
        /// The offset of its record.
        offset: u64,
        /// Its place among the record's events.
        index: u32,
    },
}

/// Tells it of an event. The reply is how often it was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Tell {
    /// The shard.
    pub shard: u32,
    /// The offset of its record.
    pub offset: u64,
    /// Its place among the record's events.
    pub index: u32,
}

impl Entity for Tally {
    const TYPE: &'static str = "tally";
    type Event = TallyEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, TallyEvent::Told { .. }: &TallyEvent) {
        self.told += 1;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Tell>();
    }
}

impl Handle<Tell> for Tally {
    fn handle(
        &self,
        Tell { shard, offset, index }: Tell,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        let before = self.told;
        Ok(cx.persist(TallyEvent::Told { shard, offset, index }).reply(move |_| before))
    }
}

/// Whenever some values are written, a tally is told. `decided` hears of each decision about an event of its interest, with its shard, offset and index.
pub fn policy(decided: impl Fn(u32, u64, u32) + Send + Sync + 'static) -> Policy {
    Policy::whenever::<Register>(TELLS, move |event, fact, then: Then| {
        let Some(tally) = told_of(&event) else { return then };
        let (shard, offset, index) = (fact.shard().0, fact.offset().0, fact.index());
        decided(shard, offset, index);
        then.send::<Tally, _>(&tally, Tell { shard, offset, index })
    })
}

/// Which tally is told of an event of a register; none when nobody is.
fn told_of(event: &RegisterEvent) -> Option<String> {
    match event {
        RegisterEvent::Written { value } if value.is_multiple_of(ONE_IN) => {
            Some(format!("t{}", value / ONE_IN % TALLIES))
        }
        _ => None,
    }
}

/// The same for an event as it was stored.
pub(crate) fn told_of_stored(event: &SeenEvent) -> Result<Option<String>, CodecError> {
    decode::<RegisterEvent>(&event.payload).map(|event| told_of(&event))
}
