//! Why a show refuses.

use serde::{Deserialize, Serialize};

/// Why a show refuses a command. In JSON, for example, `{"taken":{"seat":"A1","holder":"ada"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShowRejection {
    /// Somebody else has the seat.
    #[error("seat {seat} is taken by {holder}")]
    Taken {
        /// Which seat.
        seat: String,
        /// Who has it.
        holder: String,
    },
    /// Nobody has the seat, so it cannot be released.
    #[error("seat {seat} is free")]
    Free {
        /// Which seat.
        seat: String,
    },
    /// There is no such seat: a name has 1 to 16 letters, digits or hyphens.
    #[error("`{seat}` is no name of a seat")]
    NoSuchSeat {
        /// What was asked for.
        seat: String,
    },
    /// The holder's name is empty or too long.
    #[error("a holder's name has 1 to {allowed} bytes, this one has {bytes}")]
    HolderMalformed {
        /// Its length.
        bytes: u64,
        /// The longest name.
        allowed: u64,
    },
    /// Every seat that a show can have is taken.
    #[error("all {seats} seats are taken")]
    SoldOut {
        /// How many there are.
        seats: u64,
    },
}
