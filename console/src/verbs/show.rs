//! `holm show TYPE/ID`: the history of one entity, its state now or at any point of its past, and what differs between two of them.

use clap::Args;
use holm::EntityAddress;
use serde_json::{Value, json};

use super::diff::{self, Line};
use super::point::Point;
use super::{address, first_to_answer};
use crate::cli::Global;
use crate::output::{Exit, Failure, Output, clock_of_day};
use crate::views::{EntityDocument, EventDocument, HistoryDocument, Served};

/// Show an entity: its last events and its state, now or as of an event.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The entity, as in account/alice
    #[arg(value_name = "TYPE/ID", value_parser = address)]
    pub entity: EntityAddress,
    /// The state at a point of the past: after the event with this sequence number, or at a time, as in 16:14:22, -5m or 2026-01-31T16:14:22Z
    #[arg(long, value_name = "SEQ|TIME", allow_hyphen_values = true)]
    pub at: Option<Point>,
    /// What differs between two points, as in 187..214, -5m..now or 187.. (until now)
    #[arg(long, value_name = "A..B", value_parser = span, allow_hyphen_values = true, conflicts_with_all = ["at", "before"])]
    pub diff: Option<(Point, Point)>,
    /// How many events to list, the newest of them last
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub last: u64,
    /// List events before this sequence number only
    #[arg(long, value_name = "SEQ")]
    pub before: Option<u64>,
}

impl ShowArgs {
    /// Asks and prints.
    ///
    /// # Errors
    /// When there is no such entity or no node can be reached.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let (entity_type, id) = (self.entity.entity_type(), self.entity.id());
        if let Some(span) = self.diff {
            return self.compare(span, global, output).await;
        }
        let point = self.at.unwrap_or(Point::Now);
        let (state, history) = first_to_answer(global.clients()?, async |client| {
            let at = point.seq(client, entity_type, id).await?;
            let state = client.state(entity_type, id, at).await?;
            let end = self.before.map_or(state.body.seq, |before| before.saturating_sub(1));
            let end = end.min(state.body.seq);
            let after = end.saturating_sub(self.last);
            if after == end {
                return Ok((state, None));
            }
            let mut history = client.history(entity_type, id, after, end - after).await?;
            history.body.events.retain(|event| event.seq <= end);
            Ok((state, Some(history)))
        })
        .await?;
        if output.is_json() {
            let events = history.map_or_else(Vec::new, |history| history.body.events);
            output.document(&document(&state, &events));
        } else {
            self.print(&state, history, output);
        }
        Ok(Exit::Ok)
    }

    async fn compare(
        &self,
        (from, to): (Point, Point),
        global: &Global,
        output: Output,
    ) -> Result<Exit, Failure> {
        let (entity_type, id) = (self.entity.entity_type(), self.entity.id());
        let (earlier, later) = first_to_answer(global.clients()?, async |client| {
            let (from, to) =
                (from.seq(client, entity_type, id).await?, to.seq(client, entity_type, id).await?);
            let earlier = client.state(entity_type, id, from).await?;
            Ok((earlier, client.state(entity_type, id, to).await?))
        })
        .await?;
        let (earlier, later) = (&earlier.body, &later.body);
        if output.is_json() {
            let side = |it: &EntityDocument| json!({ "seq": it.seq, "state": it.state });
            output.document(&json!({
                "entity": later.entity,
                "from": side(earlier),
                "to": side(later),
            }));
            return Ok(Exit::Ok);
        }
        let entity = output.strong(&later.entity);
        output.line(format_args!("{entity}   seq {} against seq {}", earlier.seq, later.seq));
        output.line("");
        for line in diff::compare(&earlier.state, &later.state) {
            match line {
                Line::Same(text) => output.line(format_args!("    {text}")),
                Line::Gone(text) => output.line(format_args!("  - {text}")),
                Line::New(text) => output.line(format_args!("  + {text}")),
            }
        }
        Ok(Exit::Ok)
    }

    fn print(
        &self,
        state: &Served<EntityDocument>,
        history: Option<Served<HistoryDocument>>,
        output: Output,
    ) {
        let entity = &state.body;
        let leader = entity.leader_name.as_deref().unwrap_or("no node");
        output.line(format_args!(
            "{}   shard {} on {leader}   seq {}{}",
            output.strong(&entity.entity),
            entity.shard,
            entity.highest_seq,
            self.at.map(|_| format!("   as of seq {}", entity.seq)).unwrap_or_default(),
        ));
        if let Some(history) = history {
            output.line("");
            print_events(&history.body.events, output);
            if let Some(last) = history.body.events.last() {
                let flow = format!("  the flow of {}: holm flow {}", last.seq, last.correlation_id);
                output.line(output.faint(flow));
            }
        }
        output.line("");
        output.line(format_args!("  state at {}", entity.seq));
        let text = serde_json::to_string_pretty(&entity.state).unwrap_or_default();
        for line in text.lines() {
            output.line(format_args!("    {line}"));
        }
        let first = self.before.unwrap_or(entity.seq).saturating_sub(self.last);
        if first > 0 {
            output.line("");
            let older = format!(
                "older: --before {first}     past state: --at {first} | --at 16:14:22 | --at -5m     compare: --diff {first}..{}",
                entity.seq
            );
            output.line(format_args!("  {}", output.faint(older)));
        }
    }
}

/// Two points with two dots between them; nothing behind the dots is now.
fn span(text: &str) -> Result<(Point, Point), String> {
    let (from, to) = text.split_once("..").ok_or("write two points, as in 187..214")?;
    let to = if to.is_empty() { Point::Now } else { to.parse()? };
    Ok((from.parse()?, to))
}

fn document(state: &Served<EntityDocument>, events: &[EventDocument]) -> Value {
    json!({
        "entity": state.body.entity,
        "shard": state.body.shard,
        "leader_name": state.body.leader_name,
        "seq": state.body.seq,
        "highest_seq": state.body.highest_seq,
        "state": state.body.state,
        "events": events,
        "served_by": state.served_by,
        "as_of": state.as_of,
        "partial": state.partial,
    })
}

fn print_events(events: &[EventDocument], output: Output) {
    let what: Vec<_> = events.iter().map(|event| in_words(&event.data)).collect();
    let name_width = events.iter().map(|event| event.event.len()).max().unwrap_or(0).max(5);
    let what_width = what.iter().map(|text| text.chars().count()).max().unwrap_or(0).clamp(4, 60);
    let head = format!(
        "{:>7}  {:12}   {:name_width$}   {:what_width$}   cause",
        "seq", "when (local)", "event", "what"
    );
    output.line(output.faint(head));
    for (event, what) in events.iter().zip(&what) {
        output.line(format_args!(
            "{:>7}  {:12}   {:name_width$}   {what:what_width$}   {}",
            event.seq,
            clock_of_day(&event.at),
            event.event,
            output.faint(format_args!("command  {}   {}", event.command, event.key)),
        ));
    }
}

/// `amount 2500  to LAX` instead of `{"amount":2500,"to":"LAX"}`.
pub(super) fn in_words(data: &Value) -> String {
    let Value::Object(fields) = data else { return data.to_string() };
    let words = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    words.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_now_unless_it_says_otherwise() {
        assert_eq!(span("187..214"), Ok((Point::Seq(187), Point::Seq(214))));
        assert_eq!(span("187.."), Ok((Point::Seq(187), Point::Now)));
        assert!(span("187").is_err() && span("..x").is_err());
    }

    #[test]
    fn an_event_is_told_in_words() {
        assert_eq!(in_words(&json!({"amount": 25, "to": "LAX"})), "amount 25  to LAX");
        assert_eq!(in_words(&json!({})), "");
    }
}
