//! A test kit for entities: given, when, then. No node, no log, no thread, nothing to wait for.
//!
//! A test says what happened before, what is asked, and what must follow. The command runs on the handler path of the runtime itself, so it
//! is decoded, decided, applied and encoded as on a node. On the way the kit checks by itself what a production system would find out
//! later: that command, events, reply and state survive their encoding, that a restart from the log and one from a snapshot end in the same
//! state, that the handler decides the same again, and that a repeated key would be answered the same. See [`Broken`].
//!
//! ```
//! use holm_kit::Given;
//! # use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Default, PartialEq, Serialize, Deserialize)] struct Counter { value: u64 }
//! # #[derive(Debug, PartialEq, Event, Serialize, Deserialize)] enum CounterEvent { Increased { by: u64 } }
//! # #[derive(Debug, PartialEq, Command, Serialize, Deserialize)] #[command(reply = u64)] struct Increase { by: u64 }
//! # #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)] #[error("not by nothing")] struct ByNothing;
//! # impl Entity for Counter {
//! #     const TYPE: &'static str = "counter";
//! #     type Event = CounterEvent;
//! #     type Rejection = ByNothing;
//! #     fn apply(&mut self, CounterEvent::Increased { by }: &CounterEvent) { self.value += by; }
//! #     fn commands(commands: &mut Commands<Self>) { commands.handle::<Increase>(); }
//! # }
//! # impl Handle<Increase> for Counter {
//! #     fn handle(&self, Increase { by }: Increase, cx: &mut Context<'_, Self>) -> Result<Effect<Self, u64>, ByNothing> {
//! #         if by == 0 { return Err(ByNothing); }
//! #         Ok(cx.persist(CounterEvent::Increased { by }).reply(|counter| counter.value))
//! #     }
//! # }
//! Given::<Counter>::events([CounterEvent::Increased { by: 40 }])
//!     .when(Increase { by: 2 })
//!     .then_events([CounterEvent::Increased { by: 2 }])
//!     .then_reply(42);
//!
//! Given::<Counter>::nothing().when(Increase { by: 0 }).then_rejected(ByNothing);
//! ```

mod broken;
mod given;
mod sent;
mod verify;
mod when;

pub use broken::Broken;
pub use given::{Given, Tested, TestedCommand};
pub use when::When;
