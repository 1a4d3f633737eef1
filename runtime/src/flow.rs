//! The flow of a conversation: everything that one request led to, in whichever entity, as a tree of causes.
//!
//! Each record keeps the id of its command, what caused it and the conversation that it belongs to. [`FlowSearch`] finds the records of one
//! conversation in all shards: by the index of correlation ids, and where a shard keeps none by reading its log, from the time on that the
//! conversation's id was made ([`Window`]). [`Flow`] makes the tree of them, and says what was sent and is not answered yet. Reads are not stored, so
//! they are not in a flow.

mod gathering;
mod latest;
mod moves;
mod pages;
mod search;
mod sent;
mod step;
mod tree;

pub use gathering::{Gathered, Gathering, MOST_FLOW_BYTES, MOST_FLOW_STEPS};
pub use latest::{Conversation, LATEST_RECORDS, latest};
pub use moves::{Move, cluster_facts_since, first_sent, moves};
pub use search::{FlowSearch, Found, LOOK_AHEAD, TOLERANCE, Window};
pub use sent::{Awaited, Way};
pub use step::{FlowStep, StepOutcome};
pub use tree::{Branch, Flow, Origin};
