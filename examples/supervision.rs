//! An entity that breaks, its quarantine, and somebody else who lets it go on: `cargo run --example supervision`.

use std::time::Duration;

use holm::{
    AskError, Command, Commands, Context, Effect, Entity, EntityError, Event, FailureFilter,
    Handle, Holm, NoRejection, Read, Supervision,
};
use serde::{Deserialize, Serialize};

/// A scale that cannot weigh nothing.
#[derive(Default, Serialize, Deserialize)]
struct Scale {
    grams: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum ScaleEvent {
    Weighed { grams: u64 },
}

/// Weighs so many grams in so many equal parts.
#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Weigh {
    grams: u64,
    parts: u64,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Weight {}

impl Entity for Scale {
    const TYPE: &'static str = "scale";
    // The one line: after three failures in a minute no command reaches it until somebody has looked.
    const SUPERVISION: Supervision = Supervision::quarantine(3, Duration::from_secs(60));
    type Event = ScaleEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, ScaleEvent::Weighed { grams }: &ScaleEvent) {
        self.grams += grams;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Weigh>().read::<Weight>();
    }
}

impl Handle<Weigh> for Scale {
    fn handle(
        &self,
        Weigh { grams, parts }: Weigh,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        // No parts at all: a panic, as bugs are.
        let grams = grams / parts * parts;
        Ok(cx.persist(ScaleEvent::Weighed { grams }).reply(|scale| scale.grams))
    }
}

impl Read<Weight> for Scale {
    fn read(&self, _: Weight, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
        Ok(self.grams)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The panics below are meant, and contained.
    std::panic::set_hook(Box::new(|_| {}));
    let holm = Holm::builder().entity::<Scale>().in_memory().start().await?;
    let (broken, other) = (holm.entity::<Scale>("kitchen"), holm.entity::<Scale>("garage"));
    println!("kitchen weighs {} g", broken.ask(Weigh { grams: 100, parts: 1 }).await?);
    for _ in 0..3 {
        if let Err(error) = broken.ask(Weigh { grams: 100, parts: 0 }).await {
            println!("kitchen: {error}");
        }
    }
    println!(
        "garage weighs {} g and noticed nothing",
        other.ask(Weigh { grams: 7, parts: 1 }).await?
    );

    // The quarantine counts from the moment at which it is durable.
    let refused = loop {
        match broken.ask(Weight {}).await {
            Err(EntityError::Failed(error @ AskError::Quarantined { .. })) => break error,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    println!("kitchen: {refused}");

    // Somebody else looks, and acts. `holm failures --skip scale` does the same from a shell.
    let failures = holm.failures();
    while failures.counts().await?.quarantined == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for row in failures.list(&FailureFilter::all()).await?.rows {
        println!("{} {} {} times: {}", row.subject, row.kind.name(), row.count, row.causes[0]);
    }
    for handled in failures.skip(&FailureFilter::all().entity_type("scale"), false).await? {
        println!("{}: {:?}", handled.row.subject, handled.outcome);
    }
    println!("kitchen weighs {} g, as before", broken.ask(Weight {}).await?);
    holm.shutdown().await;
    Ok(())
}
