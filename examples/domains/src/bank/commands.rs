//! What can be asked of an account. Every reply is the balance in whole cents after the command.

use holm::Command;
use serde::{Deserialize, Serialize};

/// Opens the account, once and for all.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Who will own it.
    pub owner: String,
}

/// Brings money in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
#[serde(deny_unknown_fields)]
pub struct Deposit {
    /// How much, in cents.
    pub amount: u64,
}

/// Takes money out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// How much, in cents.
    pub amount: u64,
}

/// Pays out what is left and closes the account for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
#[serde(deny_unknown_fields)]
pub struct Close {}

/// Tells the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
#[serde(deny_unknown_fields)]
pub struct Balance {}
