//! What can be asked of a transfer.

use holm::Command;
use serde::{Deserialize, Serialize};

use super::Transfer;

/// Starts the transfer. The reply says that it is under way, not that it is over.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The account that pays.
    pub from: String,
    /// The account that receives.
    pub to: String,
    /// How much, in cents.
    pub amount: u64,
}

/// Tells how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(name = "status", reply = Transfer)]
#[serde(deny_unknown_fields)]
pub struct TransferStatus {}

/// The time that it may take is over: its own timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(internal)]
pub struct Deadline {}
