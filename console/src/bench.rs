//! `holm bench`: how fast is this machine, measured so that the figures mean something.
//!
//! First in a closed loop, which finds the highest rate; then at a fixed rate below it, where latency counts from the planned send time, because a
//! closed loop hides every stall from itself. One entity alone is compared with the fsyncs that the same disk makes in the same run. The figures
//! never stand without the machine, the file system and the number of fsyncs that were really called.

mod args;
mod caption;
mod chart;
mod closed_loop;
mod cluster;
mod compare;
mod document;
mod environment;
mod fixed_rate;
mod fsync;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod hdr;
mod idle;
mod one_entity;
mod processes;
mod promised;
mod remote;
mod report;
mod run;
mod saved;
mod show;
mod sleepers;
mod step;
mod work;

pub use args::BenchArgs;
pub use document::{BenchDocument, StepFigures};
pub use idle::IdleCluster;
pub use processes::ProcessUse;
pub use run::run;
pub use sleepers::Sleepers;
