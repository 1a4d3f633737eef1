//! Facts as CloudEvents 1.0, for those who follow from outside: brokers, pages, other services.
//!
//! The form is that of <https://github.com/cloudevents/spec>, with its extensions `partitionkey`, `sequence`, `recordedtime` and the pair of correlation and
//! causation ids, and `traceparent`, by which whoever handles a fact goes on in the trace of its conversation. There is no `tracestate`: nothing of a tracing
//! system is stored with commands.

use holm_core::TraceParent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fact::Fact;
use crate::registry::Registry;

/// One fact in the JSON form of CloudEvents. Delivery is at least once: consumers tell doubles by `source` and `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// The version of the form: `1.0`.
    pub specversion: String,
    /// The fact's name for ever: the id of its command, for the first of the command's events, and `{id}-1` and so on for those behind it.
    pub id: String,
    /// `/clusters/{cluster}/{entity_type}/{entity_id}`; `sequence` counts within it.
    pub source: String,
    /// `{namespace}.{entity_type}.{event}.v{schema_version}`, the event in snake case. The namespace of Holm's own types is `holm`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The entity's id.
    pub subject: String,
    /// When it happened, RFC 3339 in UTC.
    pub time: String,
    /// When its record was made, which is when its command was handled: the same moment as `time`.
    pub recordedtime: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// Names the version of the event that `data` is: `urn:holm:{namespace}:{entity_type}:{event}:{schema_version}`. Nothing can be fetched there.
    pub dataschema: String,
    /// The entity's id: what has the same one stays in order.
    pub partitionkey: String,
    /// The place in the entity's history, with 20 digits, because it is compared as text.
    pub sequence: String,
    /// The conversation.
    pub correlationid: String,
    /// The id of the command that caused this one's, which is the `id` of its first event when it had any; missing where the conversation begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    /// The conversation as a trace, and the command as the span in it ([`TraceParent`]); missing where an id is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The shard whose log it stands in.
    pub holmshard: u32,
    /// The offset of its record there, as text, because it may pass what a JSON number holds.
    pub holmoffset: String,
    /// The event; missing in a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Whose facts become CloudEvents.
#[derive(Debug, Clone, Copy)]
pub struct Publisher<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// What the types of a program's events begin with: its domain backwards, as in `com.acme.bank`.
    pub namespace: &'a str,
    /// Knows how events are read.
    pub registry: &'a Registry,
}

/// What the types of Holm's own events begin with.
const OWN_NAMESPACE: &str = "holm";

impl CloudEvent {
    /// A fact of this publisher.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub fn of(fact: &Fact, publisher: Publisher<'_>) -> Result<Self, String> {
        let Publisher { cluster, namespace, registry } = publisher;
        let data = if fact.is_notification() { None } else { Some(data(fact, registry)?) };
        let address = fact.address();
        let (entity_type, id) = (address.entity_type(), address.id());
        let namespace = if registry.is_system(entity_type) { OWN_NAMESPACE } else { namespace };
        let (event, version) = (snake_case(fact.name()), fact.schema_version());
        let (time, command) = (rfc3339(fact.at().as_millis()), fact.command_id());
        let causation = Some(fact.causation_id()).filter(|cause| *cause != command.causes());
        Ok(Self {
            specversion: "1.0".to_owned(),
            id: if fact.index() == 0 { command.to_string() } else { fact.id().to_string() },
            source: format!("/clusters/{cluster}/{entity_type}/{id}"),
            event_type: format!("{namespace}.{entity_type}.{event}.v{version}"),
            subject: id.to_owned(),
            recordedtime: time.clone(),
            time,
            dataschema: format!("urn:holm:{namespace}:{entity_type}:{event}:{version}"),
            datacontenttype: "application/json".to_owned(),
            partitionkey: id.to_owned(),
            sequence: format!("{:020}", fact.sequence().get()),
            correlationid: fact.correlation_id().to_string(),
            causationid: causation.map(|cause| cause.to_string()),
            traceparent: TraceParent::of(fact.correlation_id(), command).map(|it| it.to_string()),
            holmshard: fact.shard().0,
            holmoffset: fact.offset().to_string(),
            data,
        })
    }
}

/// The event without its name around it: the name stands in the type.
fn data(fact: &Fact, registry: &Registry) -> Result<Value, String> {
    let name = fact.name();
    Ok(match fact.json(registry)? {
        Value::Object(mut variant) if variant.len() == 1 && variant.contains_key(name) => {
            variant.remove(name).unwrap_or_default()
        }
        Value::String(unit) if unit == name => Value::Object(serde_json::Map::new()),
        other => other,
    })
}

/// `MoneyWithdrawn` as `money_withdrawn`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_snake_case() {
        assert_eq!(snake_case("MoneyWithdrawn"), "money_withdrawn");
        assert_eq!(snake_case("closed"), "closed");
    }
}
