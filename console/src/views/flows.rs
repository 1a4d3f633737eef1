//! The documents of flows: conversations as trees of causes.

use serde::{Deserialize, Serialize};

use super::RecordedEvent;

/// `GET /api/v1/flows/{correlation_id}?everything=&timeout_ms=`: all that one conversation led to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FlowDocument {
    /// The conversation.
    pub correlation_id: String,
    /// The same 16 bytes as tracing systems write them: the trace that the conversation is.
    #[serde(default)]
    pub trace_id: String,
    /// `type/id` of the entity that its first step asked.
    pub root: String,
    /// The last event of that entity in this flow, which mostly says how it ended; none when it has none.
    pub last_event: Option<String>,
    /// When its first step was handled, RFC 3339.
    pub began: String,
    /// From the first step to the last.
    pub lasted_ms: u64,
    /// How many entities took part.
    pub entities: usize,
    /// How many events it caused.
    pub events: usize,
    /// How many commands were rejected.
    pub rejected: usize,
    /// How many commands failed.
    pub failed: usize,
    /// The tree as a list: a step before what it caused, its children in order of time.
    pub steps: Vec<FlowStepDocument>,
    /// What was sent and is not handled, as far as was seen: on its way, or a timer whose time has not come.
    pub awaited: Vec<AwaitedDocument>,
    /// Shards of the flow that got another leader while it went on, in order of time.
    #[serde(default)]
    pub moves: Vec<MoveDocument>,
    /// True when that could not be found out: the facts of the cluster cannot be read now, or not so far back.
    #[serde(default)]
    pub moves_unknown: bool,
    /// How far the projections of the nodes are, as `holm flow` asks them; not in the answer of a node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projections: Vec<FlowProjectionDocument>,
    /// Later steps that were found and left out, because a flow shows 10,000 and 16 MiB at most.
    pub left_out: u64,
    /// Where the steps were looked for.
    pub searched: SearchedDocument,
}

/// One command of a flow and what became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FlowStepDocument {
    /// The place of its cause in the list of steps, from 0; none for a root.
    pub parent: Option<usize>,
    /// How many causes stand above it.
    pub depth: usize,
    /// `caused` by the step above; a root came from `outside`, its cause is `missing`, or its causes go in a `circle` that is cut there.
    pub origin: String,
    /// The command came as `asked` by a caller, as `reaction` or `timer` of an entity, or as the outbox's `answer` to a reaction.
    pub way: String,
    /// Which try at this command it is, from 1.
    pub attempt: u32,
    /// The node that handled it; none where the log does not say.
    pub node: Option<String>,
    /// The node that leads the shard of the entity now; none while nobody does.
    pub leader: Option<String>,
    /// From the beginning of the flow.
    pub after_ms: u64,
    /// From its cause; none for a root.
    pub gap_ms: Option<u64>,
    /// When it was handled, by the clock of the node that did, RFC 3339.
    pub at: String,
    /// `type/id`.
    pub entity: String,
    /// The shard whose log tells of it.
    pub shard: u32,
    /// Where in that log.
    pub offset: u64,
    /// The command's name.
    pub command: String,
    /// The command's id.
    pub command_id: String,
    /// What caused it; its own id when it came from outside.
    pub causation_id: String,
    /// The entity's sequence number before it.
    pub base_seq: u64,
    /// The entity's sequence number after it.
    pub seq: u64,
    /// `accepted`, `rejected` or `failed`.
    pub outcome: String,
    /// Why it was rejected, or how it failed; empty when it was accepted.
    pub message: String,
    /// What happened.
    pub events: Vec<RecordedEvent>,
}

/// A command that was sent and that no step tells of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AwaitedDocument {
    /// The place of the step that sent it in the list of steps.
    pub parent: usize,
    /// `type/id` that it is for.
    pub entity: String,
    /// The command's name.
    pub command: String,
    /// Not before this time, RFC 3339; none: at once.
    pub due: Option<String>,
    /// The same from the beginning of the flow.
    pub due_after_ms: Option<u64>,
}

/// A shard that got another leader.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MoveDocument {
    /// The shard.
    pub shard: u32,
    /// The node that led it before.
    pub from: String,
    /// The node that leads it from then on.
    pub to: String,
    /// When the cluster noticed, RFC 3339.
    pub at: String,
    /// The same from the beginning of the flow; 0 where it was before.
    pub after_ms: u64,
    /// The place in the list of steps of the one that was on its way there; none when nothing was.
    pub step: Option<usize>,
}

/// How much of a flow a projection has seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowProjectionDocument {
    /// Its name.
    pub name: String,
    /// The node where it runs.
    pub node: String,
    /// What it is doing.
    pub state: String,
    /// How many of the flow's commands lie behind its position.
    pub passed: usize,
    /// Of so many.
    pub commands: usize,
}

/// Where a search has looked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SearchedDocument {
    /// Records before this time were passed over, RFC 3339; none when everything was searched.
    pub from: Option<String>,
    /// Logs were read until this time, RFC 3339; none when everything was searched.
    pub until: Option<String>,
    /// True when all logs were to be read, whatever an index knows.
    pub everything: bool,
    /// How many shards had to be read, because their index of correlation ids is switched off or does not reach back; the times matter for these only.
    pub searched_shards: usize,
    /// How many records were looked at.
    pub records: u64,
    /// True when there are records behind `until`, which were not looked at.
    pub goes_on: bool,
    /// Shards that could not be read.
    pub unread_shards: Vec<u32>,
    /// How many shards the time was too short for.
    pub unfinished_shards: usize,
}

/// `GET /api/v1/flows?entity_type=&limit=`: the newest conversations, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FlowsDocument {
    /// The conversations.
    pub flows: Vec<ConversationDocument>,
}

/// A conversation by its newest record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConversationDocument {
    /// The conversation.
    pub correlation_id: String,
    /// When the newest record was written, RFC 3339.
    pub at: String,
    /// `type/id` of its entity.
    pub entity: String,
    /// The command that it answers.
    pub command: String,
}
