//! The shell around the engine: actix actors on arbiter threads, loader threads, metrics. It carries inputs in and outputs out and decides nothing
//! about entities.

pub(crate) mod actor;
pub(crate) mod afterwards;
pub(crate) mod arbiters;
pub(crate) mod by_type;
pub(crate) mod courier;
pub(crate) mod intake;
pub(crate) mod leadership;
pub(crate) mod listener;
pub(crate) mod loaders;
pub(crate) mod metering;
pub(crate) mod pulse;
pub(crate) mod seat;
mod telling;
pub(crate) mod ticks;
pub(crate) mod watchdog;
