//! The registry: JSON at the edge, names, versions of events, and what it refuses.

use bytes::Bytes;
use holm_core::{AskError, Limits, SequenceNumber, Verdict};
use holm_persistence::{StoredEvent, decode, encode};
use holm_runtime::{
    Command, Commands, Entity, Event, NoRejection, Registry, RegistryError, UpcastError,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::{Account, Collect, Deposit, Refused, Withdraw, registry};
use crate::driver::Driver;

/// A body becomes the command's bytes, and what is wrong with a body is said.
#[test]
fn commands_come_from_json() {
    let registry = registry();
    let bytes =
        registry.command_from_json("account", "withdraw", &json!({ "amount": 60 })).unwrap();
    assert_eq!(decode::<Withdraw>(&bytes).unwrap().amount, 60);
    let reason = |body| match registry.command_from_json("account", "withdraw", &body) {
        Err(AskError::Undecodable { command, reason }) if &*command == "withdraw" => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(&*reason(json!({ "ammount": 1 })), "missing field `amount`");
    assert!(reason(json!({ "amount": -1 })).contains("invalid value: integer `-1`, expected u64"));
    assert_eq!(&*reason(json!("60")), "the body of a command is a JSON object, this is a string");
}

/// Unknown names are errors that name what resembles them.
#[test]
fn unknown_names_find_their_neighbours() {
    let registry = registry();
    let unknown = registry.command_from_json("acount", "withdraw", &json!({})).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no entity type `acount` is registered; did you mean `account`?"
    );
    let unknown = registry.command_from_json("account", "withdrw", &json!({})).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "entity type `account` has no command `withdrw`; did you mean `withdraw`?"
    );
    assert_eq!(registry.is_read_only("account", "balance"), Ok(true));
    assert_eq!(registry.is_read_only("account", "deposit"), Ok(false));
    let types = registry.entity_types();
    assert_eq!(types[0].name, "account");
    assert_eq!(types[0].commands.iter().filter(|command| command.read_only).count(), 1);
    assert!(types[0].events.contains(&"Withdrawn".to_owned()));
}

/// Replies, rejections and states become JSON.
#[test]
fn what_comes_back_becomes_json() {
    let registry = registry();
    let accepted = Verdict::Accepted(encode(&40u64).unwrap());
    assert_eq!(registry.verdict_to_json("account", "withdraw", &accepted).unwrap(), json!(40));
    let refused = encode(&Refused::InsufficientFunds { balance: 3 }).unwrap();
    assert_eq!(registry.rejection_text("account", &refused).unwrap(), "only 3 left");
    let rejected = Verdict::Rejected(refused);
    let shown = registry.verdict_to_json("account", "withdraw", &rejected).unwrap();
    assert_eq!(shown, json!({ "InsufficientFunds": { "balance": 3 } }));
    let foreign = Verdict::Accepted(Bytes::from_static(&[255, 1, 2]));
    assert!(registry.verdict_to_json("account", "withdraw", &foreign).is_err());
}

/// A past state is what the events up to then make, also in the middle of a command, and from a snapshot on.
#[test]
fn a_past_state_becomes_json() {
    let registry = registry();
    let mut driver = Driver::new(Limits::default());
    driver.ask("a", &Deposit { amount: 5 }, "k1").unwrap();
    driver.ask("a", &Collect { parts: 3 }, "k2").unwrap();
    let records = driver.records();
    let at = |sequence| {
        let up_to = Some(SequenceNumber(sequence));
        registry.state_to_json("account", None, &records, up_to).unwrap()
    };
    assert_eq!(at(0), json!({ "balance": 0, "events": 0 }));
    assert_eq!(at(2), json!({ "balance": 6, "events": 2 }));
    let now = registry.state_to_json("account", None, &records, None).unwrap();
    assert_eq!(now, json!({ "balance": 8, "events": 4 }));
    let gap = registry.state_to_json("account", None, &records[1..], None);
    assert!(matches!(gap, Err(AskError::Undecodable { .. })), "{gap:?}");
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Lamp {
    brightness: u32,
}

#[derive(Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(upcast = read_old_lamp)]
enum LampEvent {
    #[event(version = 2)]
    Dimmed {
        brightness: u32,
    },
    SwitchedOff,
}

fn read_old_lamp(name: &str, version: u16, payload: &[u8]) -> Result<LampEvent, UpcastError> {
    match (name, version) {
        // The first version said percent of 255 in one byte.
        ("Dimmed", 1) => Ok(LampEvent::Dimmed { brightness: u32::from(decode::<u8>(payload)?) }),
        _ => Err(UpcastError::Unknown { name: name.into(), schema_version: version }),
    }
}

impl Entity for Lamp {
    const TYPE: &'static str = "lamp";
    type Event = LampEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &LampEvent) {
        match event {
            LampEvent::Dimmed { brightness } => self.brightness = *brightness,
            LampEvent::SwitchedOff => self.brightness = 0,
        }
    }

    fn commands(_: &mut Commands<Self>) {}
}

/// Law E21: an old version is read by the upcaster; a version or name without a reader is a clear error, never a guess.
#[test]
fn old_events_are_upcast_and_unknown_ones_refused() {
    assert_eq!(
        (LampEvent::schema_version("Dimmed"), LampEvent::schema_version("SwitchedOff")),
        (2, 1)
    );
    let registry = Registry::new().entity::<Lamp>();
    let show = |name, schema_version, payload: &[u8]| {
        registry.event_to_json("lamp", &StoredEvent { name, schema_version, payload })
    };
    let present = encode(&LampEvent::Dimmed { brightness: 7 }).unwrap();
    assert_eq!(show("Dimmed", 2, &present).unwrap(), json!({ "Dimmed": { "brightness": 7 } }));
    assert_eq!(show("Dimmed", 1, &[9]).unwrap(), json!({ "Dimmed": { "brightness": 9 } }));
    let newer = show("Dimmed", 3, &present).unwrap_err().to_string();
    assert!(newer.contains("no reader for event `Dimmed` in schema version 3"), "{newer}");
    assert!(show("Exploded", 1, &present).is_err());
    // After a reordering of variants the bytes say another event than the name: refused, not guessed.
    assert!(show("SwitchedOff", 1, &present).is_err());
}

/// Law R15: a name used twice, or no name at all, is refused when the host starts.
#[test]
fn a_malformed_registry_is_refused() {
    let twice = Registry::new().entity::<Account>().entity::<Account>();
    assert_eq!(twice.check(), Err(RegistryError::TypeTwice { entity_type: "account" }));
    let options = holm_runtime::HostOptions::new(twice, 1);
    let log = std::sync::Arc::new(holm_persistence::MemoryLog::new());
    assert!(holm_runtime::ShardHost::start(options, log).is_err());
}

/// The names that the derive macros give.
#[test]
fn derived_names() {
    #[derive(Command, Serialize, Deserialize)]
    struct OpenHTTPAccount {}
    assert_eq!(OpenHTTPAccount::NAME, "open_http_account");
    assert_eq!(LampEvent::NAMES, ["Dimmed", "SwitchedOff"]);
    assert_eq!(LampEvent::SwitchedOff.name(), "SwitchedOff");
}
