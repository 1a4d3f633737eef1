//! The JSON documents of the management HTTP: written by `management`, read by [`crate::api_client`], one definition for both.
//!
//! Fields are added, never renamed or removed, within `/api/v1`. Readers ignore what they do not know.

mod failures;
mod flows;
mod operations;
mod projections;

pub use failures::{
    FailedCommandDocument, FailureCountDocument, FailureDocument, FailuresDocument, HandleFailures,
    HandledDocument, HandledFailure,
};
pub use flows::{
    AwaitedDocument, ConversationDocument, FlowDocument, FlowProjectionDocument, FlowStepDocument,
    FlowsDocument, MoveDocument, SearchedDocument,
};
pub use operations::OperationDocument;
pub use projections::{
    PlaceDocument, PositionDocument, PositionEnd, ProjectionDocument, ProjectionsDocument,
    RebuildDocument,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A document with what every answer to a read says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Served<T> {
    /// The document itself; its fields stand beside the three below.
    #[serde(flatten)]
    pub body: T,
    /// The name of the node that answered.
    pub served_by: String,
    /// When it answered, RFC 3339.
    pub as_of: String,
    /// Nodes that were asked for a part and did not answer; empty when the document is complete.
    pub partial: Vec<String>,
}

/// `GET /api/v1/cluster`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClusterDocument {
    /// The cluster's name.
    pub cluster: String,
    /// The version of the view; it only rises.
    pub version: u64,
    /// Everyone who was admitted and has not left.
    pub members: Vec<MemberDocument>,
    /// All shards, in order of their number.
    pub shards: Vec<ShardDocument>,
}

/// `GET /api/v1/members`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MembersDocument {
    /// Everyone who was admitted and has not left.
    pub members: Vec<MemberDocument>,
}

/// One member: also `GET /api/v1/members/{id}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MemberDocument {
    /// Given by the cluster log, never used twice.
    pub id: u64,
    /// The node's name.
    pub name: String,
    /// Where other nodes reach it, as in `127.0.0.1:7171`; absent on a node without peers.
    pub peer: Option<String>,
    /// Where its management HTTP answers, as in `http://127.0.0.1:7070`.
    pub http: Option<String>,
    /// `joining`, `up`, `suspect`, `leaving` or `down`.
    pub state: String,
    /// Rises each time the node starts.
    pub incarnation: u64,
    /// Since when it is in this state, RFC 3339, when known.
    pub since: Option<String>,
    /// How many shards it leads.
    pub leads: u32,
}

/// `GET /api/v1/shards` and `GET /api/v1/entity-types/{type}/shards`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ShardsDocument {
    /// All shards, in order of their number.
    pub shards: Vec<ShardDocument>,
}

/// One shard: also `GET /api/v1/shards/{n}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ShardDocument {
    /// Its number.
    pub id: u32,
    /// The id of the member that leads it.
    pub leader: Option<u64>,
    /// That member's name.
    pub leader_name: Option<String>,
    /// The term of the leadership.
    pub term: u64,
    /// The ids of the members that hold a replica.
    pub replicas: Vec<u64>,
    /// `serving`, `recovering`, `handing_off` or `unassigned`.
    pub state: String,
}

impl ShardDocument {
    /// True when a leader takes its commands.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.state == "serving" && self.leader.is_some()
    }
}

/// `GET /api/v1/entity-types`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EntityTypesDocument {
    /// Every registered type.
    pub entity_types: Vec<EntityTypeDocument>,
}

/// One entity type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EntityTypeDocument {
    /// Its name.
    pub name: String,
    /// Commands that may change an entity.
    pub commands: Vec<String>,
    /// Read-only commands.
    pub reads: Vec<String>,
}

/// 200 of `POST …/commands/{command}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplyDocument {
    /// The command's reply.
    pub reply: Value,
    /// Where in history it stands.
    #[serde(flatten)]
    pub place: Place,
}

/// 422 of `POST …/commands/{command}`: the entity answered, and the answer is no.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RejectionDocument {
    /// The typed rejection of the domain.
    pub rejection: Value,
    /// What it says to a person.
    #[serde(default)]
    pub message: String,
    /// Where in history it stands.
    #[serde(flatten)]
    pub place: Place,
}

/// Where in history an answer stands and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The entity's sequence number after the command.
    pub seq: u64,
    /// The entity's shard.
    pub shard: u32,
    /// The offset of the command's record in that shard.
    pub offset: u64,
    /// True when the key had been answered before and this is the recorded answer.
    pub replayed: bool,
    /// The name of the node that led the shard.
    pub served_by: String,
    /// The conversation under which the command's record stands, which `GET /api/v1/flows/{correlation_id}` shows. Absent where this request left
    /// no record: for a read, and for a recorded answer, which belongs to the conversation of the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// `GET /api/v1/entities/{type}/{id}` and `…/state?at_seq=`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EntityDocument {
    /// `type/id`.
    pub entity: String,
    /// Its shard.
    pub shard: u32,
    /// The member that leads the shard.
    pub leader_name: Option<String>,
    /// The sequence number that `state` stands at.
    pub seq: u64,
    /// The entity's newest sequence number.
    pub highest_seq: u64,
    /// The offset of its newest record.
    pub offset: u64,
    /// When the last event of `state` happened, RFC 3339.
    pub last_event_at: Option<String>,
    /// The state as JSON.
    pub state: Value,
}

/// `GET …/history?after=&limit=`: events of one entity, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// `type/id`.
    pub entity: String,
    /// Its shard.
    pub shard: u32,
    /// The member that leads the shard.
    pub leader_name: Option<String>,
    /// The entity's newest sequence number.
    pub highest_seq: u64,
    /// The events.
    pub events: Vec<EventDocument>,
    /// Give this as `after` to go on; absent at the end.
    pub next_after: Option<u64>,
}

/// One event of one entity.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventDocument {
    /// Its sequence number.
    pub seq: u64,
    /// The offset of the record that holds it.
    pub offset: u64,
    /// When the command was handled, RFC 3339.
    pub at: String,
    /// The event's name.
    pub event: String,
    /// Its payload as JSON.
    pub data: Value,
    /// The command that caused it.
    pub command: String,
    /// That command's idempotency key.
    pub key: String,
    /// That command's id.
    pub command_id: String,
    /// The conversation it belongs to.
    pub correlation_id: String,
    /// What caused the command.
    pub causation_id: String,
}

/// `GET /api/v1/events?shard=&after=&limit=`: records of one shard in offset order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RecordsDocument {
    /// The shard.
    pub shard: u32,
    /// The records after `after`.
    pub records: Vec<RecordDocument>,
    /// Give this as `after` to go on; it equals the request's `after` when nothing is newer.
    pub next_after: u64,
    /// True when more may be there already.
    pub more: bool,
}

/// The whole outcome of one command as it stands in the log of a shard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RecordDocument {
    /// Its offset: 1, 2, 3 … without a gap.
    pub offset: u64,
    /// `type/id`.
    pub entity: String,
    /// The entity's sequence number before this record.
    pub base_seq: u64,
    /// The entity's sequence number after it.
    pub seq: u64,
    /// The idempotency key.
    pub key: String,
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: String,
    /// When it was handled, RFC 3339.
    pub at: String,
    /// True when the entity rejected the command.
    pub rejected: bool,
    /// What happened; empty for a rejection.
    pub events: Vec<RecordedEvent>,
}

/// One event inside a [`RecordDocument`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Its name.
    pub event: String,
    /// Its payload as JSON.
    pub data: Value,
}

/// `GET /version`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VersionDocument {
    /// The version of Holm.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// The node's id.
    pub id: u64,
    /// The process id.
    pub pid: u32,
    /// The cluster's name.
    pub cluster: String,
}

/// An error as RFC 9457 has it (`application/problem+json`), with what Holm says of every error.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// A stable name of the problem.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What the caller should do: `retry`, `back_off`, `fix_request` or `give_up`.
    pub kind: String,
    /// What became of the command: `not_applied` or `unknown`.
    pub outcome: String,
    /// What to do next, for a person.
    #[serde(rename = "try")]
    pub next: String,
    /// The node that answered.
    pub served_by: String,
}
