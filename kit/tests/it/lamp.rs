//! A lamp that works: what the kit says about right and wrong expectations.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use holm_core::{Limits, Timestamp};
use holm_kit::Given;
use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, Read};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Lamp {
    on: bool,
    since_ms: u64,
    colour: u64,
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
enum LampEvent {
    SwitchedOn { at_ms: u64, colour: u64 },
    SwitchedOff,
}

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum LampRejection {
    #[error("{name} is on already")]
    OnAlready { name: String },
}

#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct SwitchOn {}

#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = ())]
struct SwitchOff {}

#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = bool)]
struct IsOn {}

#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = ())]
struct Drop {}

impl Entity for Lamp {
    const TYPE: &'static str = "lamp";
    type Event = LampEvent;
    type Rejection = LampRejection;

    fn apply(&mut self, event: &LampEvent) {
        *self = match event {
            LampEvent::SwitchedOn { at_ms, colour } => {
                Self { on: true, since_ms: *at_ms, colour: *colour }
            }
            LampEvent::SwitchedOff => Self::default(),
        };
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<SwitchOn>().handle::<SwitchOff>().handle::<Drop>().read::<IsOn>();
    }
}

type Decision<R> = Result<Effect<Lamp, R>, LampRejection>;

impl Handle<SwitchOn> for Lamp {
    fn handle(&self, SwitchOn {}: SwitchOn, cx: &mut Context<'_, Self>) -> Decision<u64> {
        if self.on {
            return Err(LampRejection::OnAlready { name: cx.entity_id().to_owned() });
        }
        let (at_ms, colour) = (cx.now().as_millis(), cx.random());
        Ok(cx.persist(LampEvent::SwitchedOn { at_ms, colour }).reply(|lamp| lamp.colour))
    }
}

impl Handle<SwitchOff> for Lamp {
    fn handle(&self, SwitchOff {}: SwitchOff, cx: &mut Context<'_, Self>) -> Decision<()> {
        if !self.on {
            return Ok(cx.none().no_reply());
        }
        Ok(cx.persist(LampEvent::SwitchedOff).passivate().no_reply())
    }
}

impl Handle<Drop> for Lamp {
    fn handle(&self, Drop {}: Drop, _: &mut Context<'_, Self>) -> Decision<()> {
        panic!("it fell down")
    }
}

impl Read<IsOn> for Lamp {
    fn read(&self, IsOn {}: IsOn, _: &Context<'_, Self>) -> Result<bool, LampRejection> {
        Ok(self.on)
    }
}

fn on() -> LampEvent {
    LampEvent::SwitchedOn { at_ms: 1, colour: 2 }
}

/// What a failed expectation says.
fn said(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the expectation fails");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// Laws U6 and La6: events, state and reply are reported; a test may start from events or from a state.
#[test]
fn a_test_starts_from_events_or_from_a_state() {
    let lamp = Lamp { on: true, since_ms: 1, colour: 2 };
    Given::<Lamp>::events([on()]).when(IsOn {}).then_reply(true).then_state(lamp.clone());
    Given::<Lamp>::state(lamp)
        .when(SwitchOff {})
        .then_events([LampEvent::SwitchedOff])
        .then_reply(())
        .then_rests()
        .when(SwitchOff {})
        .then_no_events()
        .when(IsOn {})
        .then_reply(false);
}

/// Promise G10: time and randomness come from the test.
#[test]
fn the_test_holds_the_clock_and_the_dice() {
    let first = |seed| {
        let when = Given::<Lamp>::nothing().at(Timestamp::from_millis(5)).seed(seed);
        format!("{:?}", when.when(SwitchOn {}))
    };
    assert!(first(1).contains("at_ms: 5"), "{}", first(1));
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
    let later = Given::<Lamp>::nothing().at(Timestamp::from_millis(5)).when(SwitchOff {});
    let later = later.later(Duration::from_millis(7)).when(SwitchOn {});
    assert!(format!("{later:?}").contains("at_ms: 12"), "{later:?}");
}

/// A rejection stores nothing, and may name the entity.
#[test]
fn a_rejection_is_compared() {
    Given::<Lamp>::nothing()
        .and(on())
        .id("desk")
        .when(SwitchOn {})
        .then_rejected(LampRejection::OnAlready { name: "desk".into() })
        .then_no_events();
}

/// Promise G7: a panic leaves nothing behind, and the next command finds the state of before.
#[test]
fn a_failure_leaves_nothing_behind() {
    Given::<Lamp>::events([on()])
        .when(Drop {})
        .then_fails("it fell down")
        .then_no_events()
        .when(IsOn {})
        .then_reply(true);
}

/// Promise G9: the limits are those of a node.
#[test]
fn limits_hold_in_a_test_too() {
    let mut limits = Limits::default();
    limits.events_bytes = 2;
    let given = Given::<Lamp>::nothing().limits(limits);
    given.when(SwitchOn {}).then_fails("events_bytes").when(IsOn {}).then_reply(false);
}

#[test]
fn a_wrong_expectation_shows_both() {
    let given = Given::<Lamp>::events([on()]);
    let text = said(|| _ = given.clone().when(IsOn {}).then_reply(false));
    assert_eq!(text, "lamp: `is_on`: wrong reply\n  expected: false\n  found:    true");
    let text = said(|| _ = given.clone().when(SwitchOn {}).then_reply(7));
    assert!(
        text.contains("expected: 7\n  found:    Rejected(OnAlready { name: \"test\" })"),
        "{text}"
    );
    let text = said(|| _ = given.clone().when(SwitchOff {}).then_no_events());
    assert!(text.contains("expected: []\n  found:    [SwitchedOff]"), "{text}");
    let text = said(|| _ = given.clone().when(IsOn {}).then_rests());
    assert!(text.contains("does not put the entity to rest"), "{text}");
    let text = said(|| _ = given.when(IsOn {}).then_fails("panic"));
    assert!(text.contains("wrong failure"), "{text}");
}
