//! Why a transfer refuses.

use serde::{Deserialize, Serialize};

/// Why a transfer refuses a command. In JSON an object with one key, for example `{"already_started":{}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferRejection {
    /// A transfer happens once.
    #[error("the transfer was started before")]
    AlreadyStarted {},
    /// Nobody started it.
    #[error("the transfer was never started")]
    NotStarted {},
    /// Nothing would move.
    #[error("an amount must be above zero")]
    ZeroAmount {},
    /// Nothing would change.
    #[error("money cannot be transferred from an account to itself")]
    SameAccount {},
    /// No account can have this id.
    #[error("there is no such account: {reason}")]
    NoAccount {
        /// Which rule it breaks.
        reason: String,
    },
}
