//! The integration tests of the runtime: the engine against a model, and the host with its actors over a log in memory.

mod account;
mod driver;
mod engine;
mod host;
mod memory;
mod model;
mod twin;
