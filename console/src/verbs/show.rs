//! `holm show TYPE/ID`: the history of one entity, and its state now or at any point of its past.

use clap::Args;
use holm::EntityAddress;
use serde_json::{Value, json};

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
    /// The state after the event with this sequence number
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
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
        let (state, history) = first_to_answer(global.clients()?, async |client| {
            let state = client.state(entity_type, id, self.at).await?;
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
            self.at.map(|at| format!("   as of seq {at}")).unwrap_or_default(),
        ));
        if let Some(history) = history {
            output.line("");
            print_events(&history.body.events, output);
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
            let older = format!("older: --before {first}     past state: --at {first}");
            output.line(format_args!("  {}", output.faint(older)));
        }
    }
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
fn in_words(data: &Value) -> String {
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
    fn an_event_is_told_in_words() {
        assert_eq!(in_words(&json!({"amount": 25, "to": "LAX"})), "amount 25  to LAX");
        assert_eq!(in_words(&json!({})), "");
    }
}
