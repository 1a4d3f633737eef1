//! One line of the ledger: what was sent, and what the caller was told about it.

use serde::{Deserialize, Serialize};

/// One command with a key, and the last thing its caller heard about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whom it was for, as `type/id`.
    pub entity: String,
    /// The command's name.
    pub command: String,
    /// The idempotency key; every try of the same command carries the same one.
    pub key: String,
    /// The amount in cents, zero when the command has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub amount: u64,
    /// When it was first sent, in microseconds since the epoch.
    pub sent_us: u64,
    /// When the caller heard the outcome.
    pub at_us: u64,
    /// The outcome.
    #[serde(flatten)]
    pub told: Told,
}

/// What the caller was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Told {
    /// It took effect.
    Accepted(Acknowledged),
    /// The entity refused; the refusal is recorded under the key all the same.
    Rejected(Acknowledged),
    /// The entity refused, through a door that does not tell the place of a refusal.
    Refused,
    /// No answer: it may have taken effect once, or not at all.
    Unknown {
        /// The last error.
        error: String,
    },
    /// Surely not applied: the last error said so and no try before it had an open end.
    NotApplied {
        /// The last error.
        error: String,
    },
}

/// The place in history that an answer named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The entity's sequence number after the command.
    pub seq: u64,
    /// The entity's shard.
    pub shard: u32,
    /// The offset of the command's record in its shard.
    pub offset: u64,
    /// The balance that the reply named, when it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<u64>,
    /// True when a retry found the recorded answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
    /// The node that answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub served_by: String,
}

/// The one command of the bank that stores nothing. The audit looks for no record of it; the order of what callers saw includes it.
const READ: &str = "balance";

impl Entry {
    /// True when the command only reads.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.command == READ
    }

    /// The acknowledgement, when there was one.
    #[must_use]
    pub const fn acknowledged(&self) -> Option<&Acknowledged> {
        match &self.told {
            Told::Accepted(place) | Told::Rejected(place) => Some(place),
            Told::Refused | Told::Unknown { .. } | Told::NotApplied { .. } => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        let entry = Entry {
            entity: "account/7".into(),
            command: "deposit".into(),
            key: "k".into(),
            amount: 5,
            sent_us: 1,
            at_us: 2,
            told: Told::Accepted(Acknowledged {
                seq: 3,
                shard: 4,
                offset: 5,
                balance: Some(6),
                replayed: false,
                served_by: "holm-1".into(),
            }),
        };
        let line = serde_json::to_string(&entry).unwrap();
        assert!(line.contains(r#""outcome":"accepted""#) && !line.contains("replayed"), "{line}");
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    }
}
