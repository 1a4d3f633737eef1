//! The flights: one airport is one entity, and each departure or arrival is a fact that it counts.
//!
//! **What the sums cover.** `delay_minutes` and `distance_miles` add up over departures and arrivals alike: a flight from A to B counts once at
//! A (as a departure) and once at B (as an arrival), with its delay and its distance at both. A delay is negative when a flight was early, so the sum
//! of delays may be negative too; a distance is not.

mod airport;
mod commands;
mod delays;
mod events;
mod rejection;

pub use airport::Airport;
pub use commands::{AirportTotals, Arrive, Depart, Totals};
pub use delays::{AirportDelay, Delays, RouteDelay};
pub use events::AirportEvent;
pub use rejection::AirportRejection;

#[cfg(test)]
mod tests;
