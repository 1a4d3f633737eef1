//! What can be asked of a show.

use std::collections::BTreeMap;

use holm::Command;
use serde::{Deserialize, Serialize};

/// Takes a seat. Taking a seat that one already has changes nothing and is no error.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = Place)]
#[serde(deny_unknown_fields)]
pub struct Choose {
    /// Which seat, as in `A1`.
    pub seat: String,
    /// For whom.
    pub holder: String,
}

/// Gives a seat back. Only its holder can.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = Place)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which seat.
    pub seat: String,
    /// Who gives it back.
    pub holder: String,
}

/// Tells who has which seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = BTreeMap<String, String>)]
#[serde(deny_unknown_fields)]
pub struct Map {}

/// A seat as it is after the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which seat.
    pub seat: String,
    /// Whose it is; nobody's when it is free.
    pub holder: Option<String>,
}
