//! `holm projections`: how far the views of each node are, and what can be done to them.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::api_client::{ApiClient, ClientError};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output};
use crate::views::{
    PlaceDocument, PositionDocument, PositionEnd, ProjectionDocument, RebuildDocument, Served,
};

/// Time for a node to ask all the others, of whom some may be silent.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Say where a shared projection goes on: back, to have facts handled again, or forwards, to leave them out
    SetPosition {
        /// The projection
        name: String,
        /// Before the first fact
        #[arg(long, group = "whereto", required_unless_present_any = ["end", "at"])]
        beginning: bool,
        /// Behind the last
        #[arg(long, group = "whereto")]
        end: bool,
        /// Behind this offset of a shard, as in 3:812; may be given again
        #[arg(long, group = "whereto", value_name = "SHARD:OFFSET", value_parser = place)]
        at: Vec<PlaceDocument>,
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
            Self::SetPosition { name, .. } => (name, "set-position"),
            Self::RetryParked { name } => (name, "retry-parked"),
            Self::SkipFailed { name } => (name, "skip-failed"),
        }
    }

    /// Where a shared projection is to go on.
    fn position(&self) -> Option<PositionDocument> {
        match self {
            Self::SetPosition { beginning: true, .. } => {
                Some(PositionDocument::To(PositionEnd::Beginning))
            }
            Self::SetPosition { end: true, .. } => Some(PositionDocument::To(PositionEnd::End)),
            Self::SetPosition { at, .. } => Some(PositionDocument::Positions(at.clone())),
            _ => None,
        }
    }

    /// Whether one node does it for all that share the projection.
    async fn is_of_the_group(&self, global: &Global) -> Result<bool, Failure> {
        match self {
            Self::SetPosition { .. } => Ok(true),
            Self::Rebuild { name } => {
                let listed = list(global).await?;
                Ok(listed.projections.iter().any(|row| row.name == *name && row.shared))
            }
            _ => Ok(false),
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
    /// Asks one node for those of all, or tells every known node to do something, and prints what they say.
    ///
    /// # Errors
    /// When no node can be reached, or none of them runs the projection.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let mut listed = match &self.order {
            None => list(global).await?,
            Some(order) => tell(global, order).await?,
        };
        listed.projections.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
        if output.is_json() {
            output.document(&listed);
        } else {
            show(&listed, output);
        }
        Ok(Exit::Ok)
    }
}

/// What the first node that answers knows of all nodes.
async fn list(global: &Global) -> Result<Listed, Failure> {
    let mut silence = None;
    for client in global.patient_clients(Some(LIST_TIMEOUT))? {
        match client.projections().await {
            Ok(Served { body, partial, .. }) => {
                return Ok(Listed { projections: body.projections, partial });
            }
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) => {
                silence.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match silence {
        Some(error) => Err(error.into()),
        None => Ok(Listed::default()),
    }
}

/// Tells every known node, which answers when it is done.
async fn tell(global: &Global, order: &ProjectionOrder) -> Result<Listed, Failure> {
    let mut clients = global.patient_clients(None)?;
    let (name, _) = order.parts();
    if order.is_of_the_group(global).await? {
        // Said by several, it would be done several times.
        clients = first_that_runs(clients, name).await;
    }
    let told = clients.iter().map(|client| say(client, order));
    let answers = futures::future::join_all(told).await;
    let mut listed = Listed::default();
    let (mut refusal, mut silence) = (None, None);
    for (client, answer) in clients.iter().zip(answers) {
        match answer {
            Ok(answer) => listed.projections.push(answer.body),
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) => {
                listed.partial.push(client.base().to_owned());
                silence = Some(error);
            }
            Err(error) => refusal = Some(error),
        }
    }
    let nobody = listed.projections.is_empty() && listed.partial.len() == clients.len();
    let failure = match () {
        () if nobody => refusal.or(silence),
        () if order.is_for_one() && !listed.projections.is_empty() => None,
        () => refusal,
    };
    failure.map_or(Ok(listed), |error| Err(error.into()))
}

async fn say(
    client: &ApiClient,
    order: &ProjectionOrder,
) -> Result<Served<ProjectionDocument>, ClientError> {
    let (name, verb) = order.parts();
    match order.position() {
        Some(position) => client.set_projection_position(name, &position).await,
        None => client.act_on_projection(name, verb).await,
    }
}

/// The first node that runs it; all of them when none does, which then say so.
async fn first_that_runs(clients: Vec<ApiClient>, name: &str) -> Vec<ApiClient> {
    for client in &clients {
        let rows = client.own_projections(false).await.map(|answer| answer.body.projections);
        if rows.is_ok_and(|rows| rows.iter().any(|row| row.name == name)) {
            return vec![client.clone()];
        }
    }
    clients
}

fn place(text: &str) -> Result<PlaceDocument, String> {
    let parts = text.split_once(':').and_then(|(shard, offset)| {
        Some(PlaceDocument { shard: shard.parse().ok()?, offset: offset.parse().ok()? })
    });
    parts.ok_or_else(|| format!("`{text}` is no place; write SHARD:OFFSET, as in 3:812"))
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
        output.line(format_args!(
            "  {} {:name$}   {:node$}   {}{}",
            output.mark(mark),
            row.name,
            row.node,
            figures(row),
            output.faint(about(row)),
        ));
    }
    for node in &listed.partial {
        output.line(format_args!("  {} {node} did not answer", output.mark(Mark::Warning)));
    }
}

fn figures(row: &ProjectionDocument) -> String {
    let unknown = || "?".to_owned();
    format!(
        "{:8}   lag {:>8} records {:>7} s   {:>8.0}/s   left {:>8}   {} of {}",
        row.state,
        row.lag_events.map_or_else(unknown, |lag| lag.to_string()),
        row.lag_seconds.map_or_else(unknown, |lag| format!("{lag:.1}")),
        row.rate,
        left(row.seconds_left),
        row.position,
        row.head.map_or_else(unknown, |head| head.to_string()),
    )
}

/// Rough, as it is: it goes on as it did of late.
fn left(seconds: Option<f64>) -> String {
    match seconds {
        None => "?".to_owned(),
        Some(seconds) if seconds < 120.0 => format!("{:.0} s", seconds.ceil()),
        Some(seconds) if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// What else there is to say of it.
fn about(row: &ProjectionDocument) -> String {
    let mut about = String::new();
    if let Some(rebuild) = &row.rebuild {
        let RebuildDocument { position, lag_events, lag_seconds, rate, seconds_left } = rebuild;
        let (head, left) = (row.head.unwrap_or_default(), left(*seconds_left));
        about.push_str(&format!(
            "   rebuilding: {position} of {head}, lag {lag_events} records {lag_seconds:.1} s, {rate:.0}/s, left {left}"
        ));
    }
    if row.set_aside > 0 {
        about.push_str(&format!("   {} set aside", row.set_aside));
    }
    for text in [&row.outcome, &row.last_error, &row.rebuild_error].into_iter().flatten() {
        about.push_str(&format!("   {text}"));
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_each_side() {
        let row = ProjectionDocument {
            state: "running".to_owned(),
            lag_events: Some(30),
            seconds_left: Some(2.2),
            head: Some(1_000),
            rebuild: Some(RebuildDocument {
                position: 400,
                lag_events: 600,
                lag_seconds: 7.0,
                rate: 5.0,
                seconds_left: Some(600.0),
            }),
            ..ProjectionDocument::default()
        };
        assert!(figures(&row).contains("left      3 s"), "{}", figures(&row));
        let rebuilding = "rebuilding: 400 of 1000, lag 600 records 7.0 s, 5/s, left 10 min";
        assert!(about(&row).contains(rebuilding), "{}", about(&row));
        let shown = [None, Some(0.0), Some(119.0), Some(7_199.0), Some(9_000.0)].map(left);
        assert_eq!(shown, ["?", "0 s", "119 s", "120 min", "2.5 h"]);
    }
}
