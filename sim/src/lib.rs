//! Holm's proof: what happened, whether it is right, what to do next, and whether enough was seen.
//!
//! - [`history`]: the record of a run. What clients asked and were told, and what stood on the disks afterwards.
//! - [`checks`]: from a history to the promises that it broke, one file for each promise.
//! - [`register`]: an entity made for this, because the order of additions to an account cannot be seen.
//! - [`relic`]: an entity whose history may be such that nobody can replay it.
//! - [`tally`]: an entity that a policy tells of what happens to registers.
//! - [`workload`]: what a client does next, drawn from a seed.
//! - [`sometimes`]: situations that a batch of runs must have seen, or it proved nothing about them.
//! - [`world`]: a whole cluster on one thread from one seed, running the real code over a simulated network and simulated disks.
//!
//! The judging half is pure: it takes a finished history, from a simulated run or from real processes, and knows neither clock, network nor disk.

pub mod checks;
pub mod history;
pub mod register;
pub mod relic;
pub mod sometimes;
pub mod tally;
pub mod workload;
pub mod world;
