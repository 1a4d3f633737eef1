//! The documents about operations: orders over many things, which take their time.

use serde::{Deserialize, Serialize};

use super::HandledDocument;

/// `GET /api/v1/operations/{id}`, and the answer to an order over failures.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OperationDocument {
    /// Its name, which begins with the number of the node that took it.
    pub id: String,
    /// What was ordered, as in `retry`.
    pub order: String,
    /// About which failures.
    pub filter: String,
    /// `running`; `done` when everything that was meant has its outcome; `out_of_time` and `stopped` when it ended before. What has no outcome then may be
    /// done or not, and the same order again goes on where this one was.
    pub state: String,
    /// When it was taken, RFC 3339.
    pub begun: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How many failures are meant.
    pub meant: u64,
    /// What is known so far: all counts, and one page of outcomes in the order in which they came.
    #[serde(flatten)]
    pub so_far: HandledDocument,
    /// Where the next page begins (`?after=`); none when there will be no more.
    pub next: Option<u64>,
}

impl OperationDocument {
    /// Whether it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}
