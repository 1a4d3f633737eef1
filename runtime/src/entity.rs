//! The traits that a service developer implements: entity, event, command, rejection, and one handler per command.

use holm_persistence::CodecError;
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::commands::Commands;
use crate::context::Context;
use crate::effect::Effect;
use crate::supervision::Supervision;

/// A thing with an identity, a state and a history. Its state changes only by [`Entity::apply`], never in a handler.
///
/// The `Default` value is the state before the first event. Snapshots of the state are stored as bincode, a format that does not describe
/// itself: serde attributes that need `deserialize_any` (`untagged`, `flatten`) and `skip_serializing_if` do not work in it.
///
/// ```
/// use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Read};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter { value: u64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// enum CounterEvent { Increased { by: u64 } }
///
/// #[derive(Command, Serialize, Deserialize)]
/// #[command(reply = u64)]
/// struct Increase { by: u64 }
///
/// #[derive(Command, Serialize, Deserialize)]
/// #[command(reply = u64)]
/// struct Value {}
///
/// impl Entity for Counter {
///     const TYPE: &'static str = "counter";
///     type Event = CounterEvent;
///     type Rejection = NoRejection;
///
///     fn apply(&mut self, event: &CounterEvent) {
///         match event {
///             CounterEvent::Increased { by } => self.value += by,
///         }
///     }
///
///     fn commands(commands: &mut Commands<Self>) {
///         commands.handle::<Increase>().read::<Value>();
///     }
/// }
///
/// impl Handle<Increase> for Counter {
///     fn handle(&self, command: Increase, cx: &mut Context<'_, Self>) -> Result<Effect<Self, u64>, NoRejection> {
///         Ok(cx.persist(CounterEvent::Increased { by: command.by }).reply(|counter| counter.value))
///     }
/// }
///
/// impl Read<Value> for Counter {
///     fn read(&self, _: Value, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
///         Ok(self.value)
///     }
/// }
/// ```
pub trait Entity: Default + Serialize + DeserializeOwned + Send + Sized + 'static {
    /// The type's name, as in `account`. It is stored with every record and must not change.
    const TYPE: &'static str;

    /// What can happen to the entity.
    type Event: Event;

    /// Why it may refuse a command.
    type Rejection: Rejection;

    /// What becomes of an entity of this type when it failed while it handled a command.
    const SUPERVISION: Supervision = Supervision::DEFAULT;

    /// What becomes of it when it cannot be rebuilt from its history. Nothing helps there but another version of the program, so waiting costs least: it is never
    /// tried again by itself, and `Resume` means that the next command tries. That the log cannot be read is not the entity's doing: it is not counted here.
    const RECOVERY_SUPERVISION: Supervision = Self::SUPERVISION;

    /// Changes the state by one event that happened: the only place where state changes. It must not fail, and it must depend on nothing but
    /// the state and the event, because it runs again at every recovery.
    fn apply(&mut self, event: &Self::Event);

    /// Names the commands that the entity answers, one [`Commands::handle`] or [`Commands::read`] for each.
    fn commands(commands: &mut Commands<Self>);
}

/// A fact about an entity, in the past tense. Derive it on an enum whose variants are the facts.
pub trait Event: Serialize + DeserializeOwned + Send + Sized + 'static {
    /// The names of all events of this type.
    const NAMES: &'static [&'static str];

    /// The name of this event, as in `Withdrawn`.
    fn name(&self) -> &'static str;

    /// The present version of the schema of the event named `name`, from 1.
    #[must_use]
    fn schema_version(name: &str) -> u16 {
        let _ = name;
        1
    }

    /// The tags of every event named `name`: `#[event(tag = "money")]` on the variant.
    #[must_use]
    fn tags_of(name: &str) -> &'static [&'static str] {
        let _ = name;
        &[]
    }

    /// True when [`Event::tags`] finds tags in what an event says: `#[event(tags = function)]` on the enum.
    const FINDS_TAGS: bool = false;

    /// The tags that follow from what this event says. Like `apply`, it must depend on nothing but the event.
    #[must_use]
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads an event that was stored under an older schema version or under a name that is no longer used.
    ///
    /// # Errors
    /// [`UpcastError::Unknown`] when there is no way to read it: never a guess.
    fn upcast(name: &str, schema_version: u16, payload: &[u8]) -> Result<Self, UpcastError> {
        let _ = payload;
        Err(UpcastError::Unknown { name: name.into(), schema_version })
    }
}

/// Why an event of an older schema could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// No reader for this name and version.
    #[error("no reader for event `{name}` in schema version {schema_version}")]
    Unknown {
        /// The stored name.
        name: Box<str>,
        /// The stored version.
        schema_version: u16,
    },
    /// The stored bytes are not what the version says.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Why an entity refuses a command: a typed error of the domain, an answer and not a failure.
pub trait Rejection: std::error::Error + Serialize + DeserializeOwned + Send + 'static {}

impl<T: std::error::Error + Serialize + DeserializeOwned + Send + 'static> Rejection for T {}

/// The rejection of an entity that refuses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NoRejection {}

impl std::fmt::Display for NoRejection {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoRejection {}

/// A request to an entity, with the type of its reply. Derive it: `#[command(reply = u64)]`.
pub trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// The command's name, as in `withdraw`.
    const NAME: &'static str;

    /// True when only entities and Holm itself send it: as JSON from outside it is refused, and no page shows it. `#[command(internal)]`.
    const INTERNAL: bool = false;

    /// What the entity answers when it does what was asked.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// Handles a command that may change the entity.
///
/// A handler sees the state but cannot change it, and it must say what it replies; forgetting to reply does not compile:
///
/// ```compile_fail,E0308
/// # use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Counter { value: u64 }
/// # #[derive(Event, Serialize, Deserialize)] enum CounterEvent { Increased }
/// # #[derive(Command, Serialize, Deserialize)] #[command(reply = u64)] struct Increase {}
/// # impl Entity for Counter {
/// #     const TYPE: &'static str = "counter";
/// #     type Event = CounterEvent;
/// #     type Rejection = NoRejection;
/// #     fn apply(&mut self, _: &CounterEvent) { self.value += 1; }
/// #     fn commands(commands: &mut Commands<Self>) { commands.handle::<Increase>(); }
/// # }
/// impl Handle<Increase> for Counter {
///     fn handle(&self, _: Increase, cx: &mut Context<'_, Self>) -> Result<Effect<Self, u64>, NoRejection> {
///         Ok(cx.persist(CounterEvent::Increased)) // no reply: this is a draft, not an effect
///     }
/// }
/// ```
pub trait Handle<C: Command>: Entity {
    /// Decides: events and a reply, or a rejection.
    ///
    /// # Errors
    /// The rejection, when the entity refuses. Nothing changes then.
    fn handle(
        &self,
        command: C,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, C::Reply>, Self::Rejection>;
}

/// Answers a command that changes nothing. Such an answer is not recorded and needs no write.
///
/// A read-only command cannot persist, because its context has no way to:
///
/// ```compile_fail,E0596
/// # use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, NoRejection, Read};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Counter { value: u64 }
/// # #[derive(Event, Serialize, Deserialize)] enum CounterEvent { Increased }
/// # #[derive(Command, Serialize, Deserialize)] #[command(reply = u64)] struct Value {}
/// # impl Entity for Counter {
/// #     const TYPE: &'static str = "counter";
/// #     type Event = CounterEvent;
/// #     type Rejection = NoRejection;
/// #     fn apply(&mut self, _: &CounterEvent) { self.value += 1; }
/// #     fn commands(commands: &mut Commands<Self>) { commands.read::<Value>(); }
/// # }
/// impl Read<Value> for Counter {
///     fn read(&self, _: Value, cx: &Context<'_, Self>) -> Result<u64, NoRejection> {
///         let _ = cx.persist(CounterEvent::Increased); // needs `&mut Context`, which only a handler gets
///         Ok(self.value)
///     }
/// }
/// ```
pub trait Read<C: Command>: Entity {
    /// Answers from the state as it is.
    ///
    /// # Errors
    /// The rejection, when the entity refuses.
    fn read(&self, command: C, cx: &Context<'_, Self>) -> Result<C::Reply, Self::Rejection>;
}
