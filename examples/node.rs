//! Your own program as a node of a cluster: entities of your own, everything else from `HOLM_*` variables.
//!
//! `cargo build --example node`, then `holm dev --bin target/debug/examples/node` runs three of it. The load generator of `holm dev` works with the demo
//! bank, which this program does not have, so there is no load; `holm_domains::register(builder)` would bring the bank along.

use std::process::ExitCode;

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Holm, NoRejection, Read};
use serde::{Deserialize, Serialize};

/// A guest book: whoever signs it stays in it.
#[derive(Default, Serialize, Deserialize)]
struct GuestBook {
    guests: Vec<String>,
}

#[derive(Event, Serialize, Deserialize)]
enum GuestBookEvent {
    Signed { guest: String },
}

/// Signs the book. The reply says how many have signed it.
#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Sign {
    guest: String,
}

/// Lists the guests.
#[derive(Command, Serialize, Deserialize)]
#[command(reply = Vec<String>)]
struct Guests {}

impl Entity for GuestBook {
    const TYPE: &'static str = "guest-book";
    type Event = GuestBookEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &GuestBookEvent) {
        match event {
            GuestBookEvent::Signed { guest } => self.guests.push(guest.clone()),
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Sign>().read::<Guests>();
    }
}

impl Handle<Sign> for GuestBook {
    fn handle(
        &self,
        Sign { guest }: Sign,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        let signed = GuestBookEvent::Signed { guest };
        Ok(cx.persist(signed).reply(|book| book.guests.len() as u64))
    }
}

impl Read<Guests> for GuestBook {
    fn read(&self, _: Guests, _: &Context<'_, Self>) -> Result<Vec<String>, NoRejection> {
        Ok(self.guests.clone())
    }
}

fn main() -> ExitCode {
    holm_console::node::run(Holm::builder().entity::<GuestBook>().data_dir("holm-data"))
}
