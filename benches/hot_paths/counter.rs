//! The entity of the hot paths: small on purpose, so that what is measured is the runtime's share.

use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, Read, Registry};
use serde::{Deserialize, Serialize};

/// As many as a shard has of an entity type in use.
pub(crate) const COUNTERS: u64 = 1_000;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    value: u64,
}

#[derive(Event, Serialize, Deserialize)]
pub(crate) enum CounterEvent {
    Increased { by: u64 },
}

/// Adds; zero is refused.
#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Increase {
    pub(crate) by: u64,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Value {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refused {
    #[error("nothing to add")]
    Nothing,
}

impl Entity for Counter {
    const TYPE: &'static str = "counter";
    type Event = CounterEvent;
    type Rejection = Refused;

    fn apply(&mut self, event: &CounterEvent) {
        let CounterEvent::Increased { by } = event;
        self.value += by;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Increase>().read::<Value>();
    }
}

impl Handle<Increase> for Counter {
    fn handle(
        &self,
        command: Increase,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, Refused> {
        if command.by == 0 {
            return Err(Refused::Nothing);
        }
        Ok(cx.persist(CounterEvent::Increased { by: command.by }).reply(|counter| counter.value))
    }
}

impl Read<Value> for Counter {
    fn read(&self, _: Value, _: &Context<'_, Self>) -> Result<u64, Refused> {
        Ok(self.value)
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new().entity::<Counter>()
}

/// The id of the counter that is asked in this step.
pub(crate) fn id(step: u64) -> String {
    format!("counter-{}", step % COUNTERS)
}
