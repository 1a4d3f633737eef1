//! `holm send TYPE/ID COMMAND JSON`: one command and what the entity says to it.

use clap::Args;
use holm::{CorrelationId, EntityAddress, IdempotencyKey, OsEntropy};
use serde_json::Value;

use super::{address, first_to_answer};
use crate::api_client::{SendOptions, Sent};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output};
use crate::views::{RejectionDocument, ReplyDocument};

/// Send one command to an entity and print its reply.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// The entity, as in account/alice
    #[arg(value_name = "TYPE/ID", value_parser = address)]
    pub entity: EntityAddress,
    /// The command, as in deposit
    pub command: String,
    /// Its fields as JSON, as in '{"amount": 100}'
    #[arg(value_name = "JSON", default_value = "{}", value_parser = json)]
    pub body: Value,
    /// Idempotency key: sent again with the same key, the command takes effect once
    #[arg(long)]
    pub key: Option<String>,
    /// The conversation that the command belongs to, a UUID; without one it opens its own
    #[arg(long, value_name = "ID")]
    pub correlation: Option<CorrelationId>,
    /// Time that the cluster has for the answer
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,
}

impl SendArgs {
    /// Sends the command. A rejection by the entity is its answer: it is printed, and the exit code is 1.
    ///
    /// # Errors
    /// When the entity gave no answer.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        // With a key the command may be sent to the next node when the answer of one is lost.
        let key = self
            .key
            .clone()
            .unwrap_or_else(|| IdempotencyKey::generate(&mut OsEntropy).to_string());
        let options = SendOptions {
            key: Some(key),
            correlation: self.correlation.map(|id| id.to_string()),
            timeout: self.timeout_ms.map(std::time::Duration::from_millis),
        };
        let (entity_type, id) = (self.entity.entity_type(), self.entity.id());
        let Sent { verdict, message, place } = first_to_answer(global.clients()?, async |client| {
            client.send(entity_type, id, &self.command, &self.body, &options).await
        })
        .await?;
        let accepted = verdict.is_ok();
        match verdict {
            Ok(reply) if output.is_json() => output.document(&ReplyDocument { reply, place }),
            Err(rejection) if output.is_json() => {
                output.document(&RejectionDocument { rejection, message, place });
            }
            verdict => {
                let (mark, said) = match &verdict {
                    Ok(reply) => (Mark::Good, format!("{reply}")),
                    Err(rejection) => (Mark::Bad, format!("rejected: {message}   {rejection}")),
                };
                let replayed = if place.replayed { "   replayed" } else { "" };
                let stands = format!(
                    "seq {}   shard {}   offset {}   on {}{replayed}",
                    place.seq, place.shard, place.offset, place.served_by
                );
                output.line(format_args!(
                    "{} {said}   {}",
                    output.mark(mark),
                    output.faint(stands)
                ));
                if let Some(id) = &place.correlation_id {
                    output.line(output.faint(format_args!("  what it led to   holm flow {id}")));
                }
            }
        }
        Ok(if accepted { Exit::Ok } else { Exit::Failed })
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))
}
