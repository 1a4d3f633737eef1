//! Facts as CloudEvents 1.0, for those who follow from outside: brokers, pages, other services.
//!
//! The form is that of <https://github.com/cloudevents/spec>, with its extensions `partitionkey`, `sequence` and the pair of correlation and causation ids.

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
    /// The fact's name for ever: the id of its command and its place among the command's events.
    pub id: String,
    /// `/clusters/{cluster}/{entity_type}/{entity_id}`; `sequence` counts within it.
    pub source: String,
    /// `holm.{entity_type}.{event}.v{schema_version}`, the event in snake case.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The entity's id.
    pub subject: String,
    /// When it happened, RFC 3339 in UTC.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// The entity's id: what has the same one stays in order.
    pub partitionkey: String,
    /// The place in the entity's history, with 20 digits, because it is compared as text.
    pub sequence: String,
    /// The conversation.
    pub correlationid: String,
    /// What caused it.
    pub causationid: String,
    /// The shard whose log it stands in.
    pub holmshard: u32,
    /// The offset of its record there, as text, because it may pass what a JSON number holds.
    pub holmoffset: String,
    /// The event; missing in a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl CloudEvent {
    /// A fact of `cluster`. The registry knows how its event is read.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub fn of(fact: &Fact, cluster: &str, registry: &Registry) -> Result<Self, String> {
        let data = if fact.is_notification() { None } else { Some(data(fact, registry)?) };
        let address = fact.address();
        let (entity_type, id) = (address.entity_type(), address.id());
        Ok(Self {
            specversion: "1.0".to_owned(),
            id: fact.id().to_string(),
            source: format!("/clusters/{cluster}/{entity_type}/{id}"),
            event_type: format!(
                "holm.{entity_type}.{}.v{}",
                snake_case(fact.name()),
                fact.schema_version()
            ),
            subject: id.to_owned(),
            time: rfc3339(fact.at().as_millis()),
            datacontenttype: "application/json".to_owned(),
            partitionkey: id.to_owned(),
            sequence: format!("{:020}", fact.sequence().get()),
            correlationid: fact.correlation_id().to_string(),
            causationid: fact.causation_id().to_string(),
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
