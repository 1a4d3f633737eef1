//! The relic: an entity that may be cursed. A cursed event is stored and does no harm where it was decided; whoever reads it back panics.
//!
//! So it stands for a version of a program that cannot apply what another one stored. While the entity stays in memory nobody notices; when it has left, or
//! another node leads, it cannot be brought back: it alone is broken, and after a few tries it is in quarantine ([`crate::checks`], promise G7).

use std::time::Duration;

use holm_runtime::{
    Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Read, Supervision,
};
use serde::{Deserialize, Deserializer, Serialize};

/// How often something was laid beside it, and whether it is cursed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relic {
    /// How often.
    pub laid: u64,
    /// A snapshot says so too, and cannot be read then: it must not hide the event that it holds.
    #[serde(deserialize_with = "not_cursed")]
    pub cursed: bool,
}

/// A fact about a relic.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum RelicEvent {
    /// Something was laid beside it.
    Laid {},
    /// It is cursed.
    Cursed {
        /// Whether this is the event as it was decided. It is not stored.
        #[serde(skip)]
        fresh: bool,
    },
}

/// The name of the event that cannot be replayed.
pub const CURSED: &str = "Cursed";

/// Lays something beside it. The reply is how often that was done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Lay {}

/// Curses it. The reply is how often something was laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Curse {}

/// Tells how often something was laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Count {}

impl Entity for Relic {
    const TYPE: &'static str = "relic";
    type Event = RelicEvent;
    type Rejection = NoRejection;

    /// Soon: a world does not last long.
    const RECOVERY_SUPERVISION: Supervision = Supervision::quarantine(3, Duration::from_secs(600));

    fn apply(&mut self, event: &RelicEvent) {
        match event {
            RelicEvent::Laid {} => self.laid += 1,
            RelicEvent::Cursed { fresh: true } => self.cursed = true,
            RelicEvent::Cursed { fresh: false } => panic!("a cursed event is replayed"),
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Lay>().handle::<Curse>().read::<Count>();
    }
}

type Decision = Result<Effect<Relic, u64>, NoRejection>;

impl Handle<Lay> for Relic {
    fn handle(&self, Lay {}: Lay, cx: &mut Context<'_, Self>) -> Decision {
        let before = self.laid;
        Ok(cx.persist(RelicEvent::Laid {}).reply(move |_| before))
    }
}

impl Handle<Curse> for Relic {
    fn handle(&self, Curse {}: Curse, cx: &mut Context<'_, Self>) -> Decision {
        let laid = self.laid;
        Ok(cx.persist(RelicEvent::Cursed { fresh: true }).reply(move |_| laid))
    }
}

impl Read<Count> for Relic {
    fn read(&self, Count {}: Count, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
        Ok(self.laid)
    }
}

fn not_cursed<'de, D: Deserializer<'de>>(stored: D) -> Result<bool, D::Error> {
    match bool::deserialize(stored)? {
        false => Ok(false),
        true => Err(serde::de::Error::custom("a cursed state is read back")),
    }
}
