//! The entity of Holm that every table asks.

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Read};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    value: u64,
}

#[derive(Event, Serialize, Deserialize)]
pub(crate) enum CounterEvent {
    Increased,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Increase {}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Value {}

impl Entity for Counter {
    const TYPE: &'static str = "counter";
    type Event = CounterEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &CounterEvent) {
        let CounterEvent::Increased = event;
        self.value += 1;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Increase>().read::<Value>();
    }
}

impl Handle<Increase> for Counter {
    fn handle(
        &self,
        _: Increase,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        Ok(cx.persist(CounterEvent::Increased).reply(|counter| counter.value))
    }
}

impl Read<Value> for Counter {
    fn read(&self, _: Value, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
        Ok(self.value)
    }
}
