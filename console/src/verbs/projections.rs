//! `holm projections`: how far the views of each node are, and what can be done to them.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::LOOK_TIMEOUT;
use crate::api_client::{ApiClient, ClientError};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output};
use crate::views::ProjectionDocument;

/// Show how far the views of each node are; pause, resume or rebuild one, retry or leave out what it could not handle.
///
/// Every node that runs a projection with a view has all of it for itself, so an order goes to all of them, or to the one that --url names.
#[derive(Debug, Clone, Args)]
pub struct ProjectionsArgs {
    /// What to do; without it, they are shown
    #[command(subcommand)]
    pub order: Option<ProjectionOrder>,
}

/// What can be done to a projection.
#[derive(Debug, Clone, Subcommand)]
pub enum ProjectionOrder {
    /// Stop it where it is, also over restarts
    Pause {
        /// The projection
        name: String,
    },
    /// Let it go on, after a pause or a failure
    Resume {
        /// The projection
        name: String,
    },
    /// Build its view anew from the first event, beside the present one
    Rebuild {
        /// The projection
        name: String,
    },
    /// Handle again the records that were parked
    RetryParked {
        /// The projection
        name: String,
    },
    /// Leave out the record that it stopped at, and go on behind it
    SkipFailed {
        /// The projection
        name: String,
    },
}

impl ProjectionOrder {
    /// The projection, and the order as it is in a path.
    fn parts(&self) -> (&str, &'static str) {
        match self {
            Self::Pause { name } => (name, "pause"),
            Self::Resume { name } => (name, "resume"),
            Self::Rebuild { name } => (name, "rebuild"),
            Self::RetryParked { name } => (name, "retry-parked"),
            Self::SkipFailed { name } => (name, "skip-failed"),
        }
    }

    /// One node may have stopped and the others not: then it is done when one of them does it.
    fn is_for_one(&self) -> bool {
        matches!(self, Self::SkipFailed { .. })
    }
}

/// What `holm projections --json` prints.
#[derive(Debug, Default, Serialize)]
struct Listed {
    projections: Vec<ProjectionDocument>,
    /// Nodes that did not answer.
    partial: Vec<String>,
}

impl ProjectionsArgs {
    /// Asks every known node and prints what they say.
    ///
    /// # Errors
    /// When no node can be reached, or none of them runs the projection.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        // An order is answered when it is done.
        let timeout = if self.order.is_some() { None } else { Some(LOOK_TIMEOUT) };
        let clients = global.patient_clients(timeout)?;
        let asked = clients.iter().map(|client| ask(client, self.order.as_ref()));
        let answers = futures::future::join_all(asked).await;
        let mut listed = Listed::default();
        let (mut refusal, mut silence) = (None, None);
        for (client, answer) in clients.iter().zip(answers) {
            match answer {
                Ok(rows) => listed.projections.extend(rows),
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) => {
                    listed.partial.push(client.base().to_owned());
                    silence = Some(error);
                }
                Err(error) => refusal = Some(error),
            }
        }
        let nobody = listed.projections.is_empty() && listed.partial.len() == clients.len();
        let done_by_one = self.order.as_ref().is_some_and(ProjectionOrder::is_for_one)
            && !listed.projections.is_empty();
        let failure = match () {
            () if nobody => refusal.or(silence),
            () if done_by_one => None,
            () => refusal,
        };
        if let Some(error) = failure {
            return Err(error.into());
        }
        listed.projections.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
        if output.is_json() {
            output.document(&listed);
        } else {
            show(&listed, output);
        }
        Ok(Exit::Ok)
    }
}

async fn ask(
    client: &ApiClient,
    order: Option<&ProjectionOrder>,
) -> Result<Vec<ProjectionDocument>, ClientError> {
    let Some(order) = order else { return Ok(client.projections().await?.body.projections) };
    let (name, verb) = order.parts();
    Ok(vec![client.act_on_projection(name, verb).await?.body])
}

fn show(listed: &Listed, output: Output) {
    let rows = &listed.projections;
    if rows.is_empty() {
        output.line("no projections   start them with: holm dev --views");
    }
    let width = |of: fn(&ProjectionDocument) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let (name, node) = (width(|row| row.name.len()), width(|row| row.node.len()));
    for row in rows {
        let mark = match row.state.as_str() {
            "running" if row.set_aside == 0 => Mark::Good,
            "failed" | "stopped" => Mark::Bad,
            _ => Mark::Warning,
        };
        let unknown = || "?".to_owned();
        output.line(format_args!(
            "  {} {:name$}   {:node$}   {:8}   lag {:>8} events {:>7} s   {:>8.0}/s   {} of {}{}",
            output.mark(mark),
            row.name,
            row.node,
            row.state,
            row.lag_events.map_or_else(unknown, |lag| lag.to_string()),
            row.lag_seconds.map_or_else(unknown, |lag| format!("{lag:.1}")),
            row.rate,
            row.position,
            row.head.map_or_else(unknown, |head| head.to_string()),
            output.faint(about(row)),
        ));
    }
    for url in &listed.partial {
        output.line(format_args!("  {} {url} did not answer", output.mark(Mark::Warning)));
    }
}

/// What else there is to say of it.
fn about(row: &ProjectionDocument) -> String {
    let mut about = String::new();
    if let (Some(rebuilt), head) = (row.rebuilt, row.head.unwrap_or_default()) {
        about.push_str(&format!("   rebuilding: {rebuilt} of {head}"));
    }
    if row.set_aside > 0 {
        about.push_str(&format!("   {} set aside", row.set_aside));
    }
    for text in [&row.outcome, &row.last_error, &row.rebuild_error].into_iter().flatten() {
        about.push_str(&format!("   {text}"));
    }
    about
}
