//! What can happen at an airport.

use holm::Event;
use serde::{Deserialize, Serialize};

/// A fact about one flight, seen from one airport.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum AirportEvent {
    /// A flight left.
    Departed {
        /// When it was to leave, local time of its origin, as reported.
        at: String,
        /// Minutes behind the timetable; negative when early.
        delay: i32,
        /// Miles to its destination.
        distance: u32,
        /// Where it went.
        to: String,
    },
    /// A flight landed.
    Arrived {
        /// When it was to leave, local time of its origin, as reported.
        at: String,
        /// Minutes behind the timetable; negative when early.
        delay: i32,
        /// Miles from its origin.
        distance: u32,
        /// Where it came from.
        from: String,
    },
}
