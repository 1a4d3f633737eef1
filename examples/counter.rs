//! A whole program: one entity, one node, state that survives the process. The README shows the same lines.

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Holm, NoRejection, Read};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum CounterEvent {
    Increased { by: u64 },
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Increase {
    by: u64,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Value {}

impl Entity for Counter {
    const TYPE: &'static str = "counter";
    type Event = CounterEvent;
    type Rejection = NoRejection;

    // The only place where state changes; recovery runs it again.
    fn apply(&mut self, event: &CounterEvent) {
        match event {
            CounterEvent::Increased { by } => self.value += by,
        }
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
    ) -> Result<Effect<Self, u64>, NoRejection> {
        // The reply leaves when the event is on disk, not before.
        Ok(cx.persist(CounterEvent::Increased { by: command.by }).reply(|counter| counter.value))
    }
}

impl Read<Value> for Counter {
    fn read(&self, _: Value, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
        Ok(self.value)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let holm = Holm::builder().entity::<Counter>().data_dir("data/counter").start().await?;
    let visits = holm.entity::<Counter>("visits");
    visits.ask(Increase { by: 1 }).await?;
    println!("visits: {}, also after a crash: run it again", visits.ask(Value {}).await?);
    holm.shutdown().await;
    Ok(())
}
