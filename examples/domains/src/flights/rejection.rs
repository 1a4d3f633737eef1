//! Why an airport refuses.

use serde::{Deserialize, Serialize};

/// Why an airport refuses a report. In JSON, for example, `{"same_airport":{"airport":"LAX"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AirportRejection {
    /// A flight does not end where it began.
    #[error("a flight cannot connect {airport} with itself")]
    SameAirport {
        /// Where.
        airport: String,
    },
    /// The report does not say which airport is at the other end.
    #[error("the code of the other airport is empty or longer than {allowed} bytes")]
    OtherAirportMalformed {
        /// The longest code.
        allowed: u64,
    },
    /// The report does not say when.
    #[error("the time is empty or longer than {allowed} bytes")]
    TimeMalformed {
        /// The longest text.
        allowed: u64,
    },
}
