//! The register: an entity made for this proof. One value, which everybody writes and reads, and every way to be difficult that an entity has.
//!
//! The bank is a poor witness of order, because additions commute: a balance tells that a deposit is in it, not when it came. A register
//! tells more: whoever writes draws a value that nobody else writes, so each reply names the one write that it saw.

use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, Read};
use serde::{Deserialize, Serialize};

/// A value, and how often it changed. Zero before the first write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// What was written last.
    pub value: u64,
    /// How many writes there were.
    pub writes: u64,
    /// How many bytes were laid down by [`Fill`].
    pub filled: u64,
}

/// A fact about a register.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum RegisterEvent {
    /// It holds another value.
    Written {
        /// Which.
        value: u64,
    },
    /// Bytes were laid down; they weigh and mean nothing.
    Filled {
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A fact that cannot be applied. No command that ends well stores it; one that is stored is in [`crate::relic`].
    Cursed,
}

/// Why a register refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterRejection {
    /// It does not hold what a [`Swap`] expects.
    #[error("the register holds {found}, not {expected}")]
    Mismatch {
        /// What the caller expected.
        expected: u64,
        /// What is there.
        found: u64,
    },
}

/// Writes a value. The reply is the value before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Write {
    /// Which.
    pub value: u64,
}

/// Writes a value where the other one stands, or is refused. The reply is the value before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Swap {
    /// What must be there.
    pub expected: u64,
    /// What will be there.
    pub value: u64,
}

/// Writes several values one after the other, each an event, all or none. The reply is the value before.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Burst {
    /// The first value; the others count up from it.
    pub first: u64,
    /// How many, 0 too.
    pub count: u8,
}

/// Tells the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct Look {}

/// Lays down bytes; a long command, and a long event.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub struct Fill {
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Writes a value and is answered with so many bytes; what is too long for a reply must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = serde_bytes::ByteBuf)]
pub struct Shout {
    /// Which value.
    pub value: u64,
    /// How many bytes.
    pub reply_bytes: u32,
}

/// Writes a value and wishes to be put to rest. The reply is the value before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub struct WriteAndRest {
    /// Which.
    pub value: u64,
}

/// Panics. Nothing of it may remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub struct Poison {
    /// Where.
    pub at: PoisonAt,
}

/// Where a panic happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoisonAt {
    /// While deciding.
    Handle,
    /// While applying the event.
    Apply,
    /// While saying the reply, the event being applied already.
    Reply,
}

impl Entity for Register {
    const TYPE: &'static str = "register";
    type Event = RegisterEvent;
    type Rejection = RegisterRejection;

    fn apply(&mut self, event: &RegisterEvent) {
        match event {
            RegisterEvent::Written { value } => {
                self.value = *value;
                self.writes += 1;
            }
            RegisterEvent::Filled { bytes } => self.filled += bytes.len() as u64,
            RegisterEvent::Cursed => panic!("a cursed event is applied"),
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Write>()
            .handle::<Swap>()
            .handle::<Burst>()
            .handle::<Fill>()
            .handle::<Shout>()
            .handle::<WriteAndRest>()
            .handle::<Poison>()
            .read::<Look>();
    }
}

type Decision<R> = Result<Effect<Register, R>, RegisterRejection>;

impl Handle<Write> for Register {
    fn handle(&self, Write { value }: Write, cx: &mut Context<'_, Self>) -> Decision<u64> {
        let before = self.value;
        Ok(cx.persist(RegisterEvent::Written { value }).reply(move |_| before))
    }
}

impl Handle<Swap> for Register {
    fn handle(&self, Swap { expected, value }: Swap, cx: &mut Context<'_, Self>) -> Decision<u64> {
        let found = self.value;
        if found != expected {
            return Err(RegisterRejection::Mismatch { expected, found });
        }
        Ok(cx.persist(RegisterEvent::Written { value }).reply(move |_| found))
    }
}

impl Handle<Burst> for Register {
    fn handle(&self, Burst { first, count }: Burst, cx: &mut Context<'_, Self>) -> Decision<u64> {
        let before = self.value;
        let values = first..first.saturating_add(u64::from(count));
        let events = values.map(|value| RegisterEvent::Written { value });
        Ok(cx.persist_all(events).reply(move |_| before))
    }
}

impl Handle<Fill> for Register {
    fn handle(&self, Fill { bytes }: Fill, cx: &mut Context<'_, Self>) -> Decision<()> {
        Ok(cx.persist(RegisterEvent::Filled { bytes }).no_reply())
    }
}

impl Handle<Shout> for Register {
    fn handle(
        &self,
        Shout { value, reply_bytes }: Shout,
        cx: &mut Context<'_, Self>,
    ) -> Decision<serde_bytes::ByteBuf> {
        let shout = move |_: &Self| serde_bytes::ByteBuf::from(vec![b'!'; reply_bytes as usize]);
        Ok(cx.persist(RegisterEvent::Written { value }).reply(shout))
    }
}

impl Handle<WriteAndRest> for Register {
    fn handle(
        &self,
        WriteAndRest { value }: WriteAndRest,
        cx: &mut Context<'_, Self>,
    ) -> Decision<u64> {
        let before = self.value;
        Ok(cx.persist(RegisterEvent::Written { value }).passivate().reply(move |_| before))
    }
}

impl Handle<Poison> for Register {
    fn handle(&self, Poison { at }: Poison, cx: &mut Context<'_, Self>) -> Decision<()> {
        match at {
            PoisonAt::Handle => panic!("poisoned while deciding"),
            PoisonAt::Apply => Ok(cx.persist(RegisterEvent::Cursed).no_reply()),
            PoisonAt::Reply => {
                let event = RegisterEvent::Written { value: u64::MAX };
                Ok(cx.persist(event).reply(|_| panic!("poisoned while replying")))
            }
        }
    }
}

impl Read<Look> for Register {
    fn read(&self, Look {}: Look, _: &Context<'_, Self>) -> Result<u64, RegisterRejection> {
        Ok(self.value)
    }
}
