//! What can be reported to an airport and asked of it.

use holm::Command;
use serde::{Deserialize, Serialize};

/// Reports that a flight left. The reply is the totals with it.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = AirportTotals)]
#[serde(deny_unknown_fields)]
pub struct Depart {
    /// When it was to leave, local time of its origin.
    pub at: String,
    /// Minutes behind the timetable; negative when early.
    pub delay: i32,
    /// Miles to its destination.
    pub distance: u32,
    /// The code of its destination.
    pub to: String,
}

/// Reports that a flight landed. The reply is the totals with it.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = AirportTotals)]
#[serde(deny_unknown_fields)]
pub struct Arrive {
    /// When it was to leave, local time of its origin.
    pub at: String,
    /// Minutes behind the timetable; negative when early.
    pub delay: i32,
    /// Miles from its origin.
    pub distance: u32,
    /// The code of its origin.
    pub from: String,
}

/// Tells the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = AirportTotals)]
#[serde(deny_unknown_fields)]
pub struct Totals {}

/// Counts and sums over all reports of one airport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AirportTotals {
    /// Flights that left.
    pub departures: u64,
    /// Flights that landed.
    pub arrivals: u64,
    /// Minutes of delay over both; early flights count against late ones.
    pub delay_minutes: i64,
    /// Miles over both.
    pub distance_miles: u64,
}
