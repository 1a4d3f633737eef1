//! The replicated log over real groups: real stores, real transports on loopback, one voter or three. No cluster around them, so that a test
//! decides who leads when.

mod away;
mod fence;
mod late_answers;
mod laws;
mod leases;
mod nodes;
mod resting;
