//! The integration tests of the runtime: the engine against a model, and the host with its actors over a log in memory.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test with its line")]

mod account;
mod brittle;
mod bus;
mod driver;
mod engine;
mod errand;
mod failures;
mod flow;
mod host;
mod memory;
mod model;
mod policies;
mod reactions;
mod registry;
mod twin;
