//! `holm flow ID`: everything that one conversation led to, through every entity it touched, as a tree of causes.

mod draw;
mod problems;
mod seen_by;

use std::time::Duration;

use clap::Args;
use holm::CorrelationId;

use super::first_to_answer;
use crate::cli::Global;
use crate::output::{Exit, Failure, Output};

/// Time for a search of the logs around the conversation, and of everything; the longest that a node allows by default.
const SEARCH: Duration = Duration::from_secs(20);
const LONG_SEARCH: Duration = Duration::from_secs(600);

/// How much longer than the search its answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Draw everything that one conversation led to, through every entity it touched.
///
/// Its records are found by the nodes' index of correlation ids. Where that is switched off they are looked for in the logs, from ten minutes before the
/// time of the id to an hour after it.
#[derive(Debug, Clone, Args)]
pub struct FlowArgs {
    /// The conversation: the correlation id that `holm send` prints
    #[arg(value_name = "ID", required_unless_present = "latest", conflicts_with = "latest")]
    pub id: Option<CorrelationId>,
    /// The newest conversation, of entities of this type or of any
    #[arg(long, value_name = "TYPE", num_args = 0..=1)]
    pub latest: Option<Option<String>>,
    /// Only what was rejected or failed, and what led there
    #[arg(long)]
    pub failed: bool,
    /// Search all that was ever stored, in the logs themselves
    #[arg(long)]
    pub everything: bool,
    /// Time for the search
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: Option<u64>,
}

impl FlowArgs {
    /// Searches and draws.
    ///
    /// # Errors
    /// When nothing is found or no node can be reached.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let usual = if self.everything { LONG_SEARCH } else { SEARCH };
        let timeout = self.timeout_ms.map_or(usual, Duration::from_millis);
        let clients = global.patient_clients(Some(timeout + ANSWER))?;
        let id = match (self.id, &self.latest) {
            (Some(id), _) => id.to_string(),
            (None, latest) => {
                let entity_type = latest.as_ref().and_then(Option::as_deref);
                let ask = async |client: &crate::api_client::ApiClient| {
                    client.flows(entity_type, 1).await
                };
                let newest = first_to_answer(clients.clone(), ask).await?;
                let Some(newest) = newest.body.flows.into_iter().next() else {
                    return Err(Failure::new(
                        "there is no conversation",
                        "no such record is among the last 1,000 of any shard",
                    )
                    .or_try("send a command first, or name the conversation: holm flow ID"));
                };
                newest.correlation_id
            }
        };
        let ask = async |client: &crate::api_client::ApiClient| {
            let flow = client.flow(&id, self.everything, timeout).await?;
            Ok((client.base().to_owned(), flow))
        };
        let (base, mut flow) = first_to_answer(clients, ask).await?;
        flow.body.projections = seen_by::ask(global, &flow.body).await?;
        if self.failed {
            problems::keep_only(&mut flow.body);
        }
        if output.is_json() {
            output.document(&flow);
        } else {
            draw::lines(&flow.body, output).iter().for_each(|line| output.line(line));
            output.line(output.faint(format_args!("  Open         {base}/api/v1/flows/{id}")));
        }
        Ok(Exit::Ok)
    }
}
