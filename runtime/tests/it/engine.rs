//! The engine, input by input: pipelining, reads, repeats, containment, limits, recovery, rest and snapshots.

mod containment;
mod idempotency;
mod pipeline;
mod recovery;
mod rest;
mod supervision;
