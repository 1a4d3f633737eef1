//! `holm events`: what happened in the whole cluster, and with `--follow` what happens.

use clap::{Args, ValueEnum};
use holm::bus::CloudEvent;

use super::follow::Follow;
use crate::api_client::{StreamEvent, StreamWish};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output, clock_of_day};

/// What is followed
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopicName {
    /// What happens to entities
    Events,
    /// What fails
    Failures,
    /// What happens to members and shards
    Cluster,
}

/// Print the events of the cluster, oldest first for each entity
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// What to follow; may be given again
    #[arg(long = "topic", value_name = "TOPIC", value_enum, default_value = "events")]
    pub topics: Vec<TopicName>,
    /// Only entities of this type; may be given again
    #[arg(long = "type", value_name = "TYPE")]
    pub entity_types: Vec<String>,
    /// Only events of this name, as in Withdrawn; may be given again
    #[arg(long = "event", value_name = "NAME")]
    pub events: Vec<String>,
    /// Only entities whose id begins so
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Only events with this tag; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Go on with what happens from now on; without --from, begin there
    #[arg(long)]
    pub follow: bool,
    /// Where to begin: beginning, now, or the id of an event of the stream
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl TopicName {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Failures => "failures",
            Self::Cluster => "cluster",
        }
    }
}

impl EventsArgs {
    /// Follows and prints.
    ///
    /// # Errors
    /// When no node can be reached, or a log cannot be read.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let follow = Follow { wish: self.wish(), forever: self.follow, limit: self.limit };
        follow.run(global, |event| print(event, output)).await
    }

    fn wish(&self) -> StreamWish {
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.name()).collect();
        let mut query = vec![("topics", topics.join(","))];
        let from = self
            .from
            .clone()
            .unwrap_or_else(|| if self.follow { "now".to_owned() } else { "beginning".to_owned() });
        query.push(("from", from));
        if !self.follow {
            query.push(("until_now", "true".to_owned()));
        }
        let lists =
            [("entity_type", &self.entity_types), ("event", &self.events), ("tag", &self.tags)];
        for (name, list) in lists {
            if !list.is_empty() {
                query.push((name, list.join(",")));
            }
        }
        query.extend(self.prefix.clone().map(|prefix| ("id_prefix", prefix)));
        StreamWish { query, last_id: None }
    }
}

/// Prints one event; false when nobody reads any more.
fn print(event: &StreamEvent, output: Output) -> bool {
    if output.is_json() {
        return output.is_read(&event.data);
    }
    match serde_json::from_str::<CloudEvent>(&event.data) {
        Ok(fact) => output.is_read(format_args!(
            "{}  {}  {:>6}  {}  {}",
            clock_of_day(&fact.time),
            output.strong(fact.source.splitn(4, '/').nth(3).unwrap_or(&fact.subject)),
            fact.sequence.trim_start_matches('0'),
            fact.event_type.rsplit('.').nth(1).unwrap_or(&fact.event_type),
            fact.data.map(|data| data.to_string()).unwrap_or_default(),
        )),
        Err(error) => output.is_read(format_args!(
            "{} an event that cannot be read: {error}",
            output.mark(Mark::Warning)
        )),
    }
}
