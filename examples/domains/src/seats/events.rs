//! What can happen to the seats of a show.

use holm::Event;
use serde::{Deserialize, Serialize};

/// A fact about one seat.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum ShowEvent {
    /// The seat got a holder.
    SeatChosen {
        /// Which seat.
        seat: String,
        /// Whose it is now.
        holder: String,
    },
    /// The seat is free again.
    SeatReleased {
        /// Which seat.
        seat: String,
        /// Whose it was.
        holder: String,
    },
}
