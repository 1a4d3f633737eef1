//! Entities that pass a test of their logic and would go wrong on a node. The kit finds each without being asked. Law U6.

use std::sync::atomic::{AtomicU64, Ordering};

use holm_kit::{Broken, Given};
use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};
use serde::{Deserialize, Serialize};

/// An entity with one command, whose only fault is in the parts that are given.
macro_rules! entity {
    ($entity:ident, $event:ty, $apply:expr, $command:ident, $handle:expr, $registers:expr) => {
        impl Entity for $entity {
            const TYPE: &'static str = "broken";
            type Event = $event;
            type Rejection = NoRejection;

            fn apply(&mut self, event: &$event) {
                let apply: fn(&mut Self, &$event) = $apply;
                apply(self, event);
            }

            fn commands(commands: &mut Commands<Self>) {
                if $registers {
                    commands.handle::<$command>();
                }
            }
        }

        impl Handle<$command> for $entity {
            fn handle(
                &self,
                command: $command,
                cx: &mut Context<'_, Self>,
            ) -> Result<Effect<Self, u64>, NoRejection> {
                let handle: fn(&Self, $command) -> $event = $handle;
                Ok(cx.persist(handle(self, command)).reply(|_| 0))
            }
        }
    };
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
enum Added {
    Added { by: u64 },
}

#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Add {
    by: u64,
}

fn added(Add { by }: Add) -> Added {
    Added::Added { by }
}

/// A cache that serde leaves out: gone after a snapshot.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Forgetful {
    sum: u64,
    #[serde(skip)]
    count: u64,
}

entity!(
    Forgetful,
    Added,
    |state, Added::Added { by }| {
        state.sum += by;
        state.count += 1;
    },
    Add,
    |_, command| added(command),
    true
);

#[test]
fn a_state_that_loses_a_field_is_found() {
    let broken = Given::<Forgetful>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(&broken, Broken::Altered { what, .. } if what == "the state"), "{broken}");
    let text = broken.to_string();
    assert!(text.contains("count: 1 }\n  after:  Forgetful { sum: 2, count: 0 }"), "{text}");
}

/// An event that loses a field on its way to the log.
#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
enum Leaky {
    Added {
        #[serde(skip)]
        by: u64,
    },
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum(u64);

entity!(
    Sum,
    Leaky,
    |state, Leaky::Added { by }| state.0 += by,
    Add,
    |_, Add { by }| Leaky::Added { by },
    true
);

#[test]
fn an_event_that_loses_a_field_is_found() {
    let broken = Given::<Sum>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(broken, Broken::RestartDiffers { .. }), "{broken}");
    assert!(broken.to_string().contains("live:      Sum(2)\n  restarted: Sum(0)"), "{broken}");
}

/// `apply` that counts with something outside the state.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Outsider(u64);

static OUTSIDE: AtomicU64 = AtomicU64::new(1);

entity!(
    Outsider,
    Added,
    |state, _| state.0 = OUTSIDE.fetch_add(1, Ordering::Relaxed),
    Add,
    |_, command| added(command),
    true
);

#[test]
fn an_apply_that_looks_outside_is_found() {
    let broken = Given::<Outsider>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(broken, Broken::RestartDiffers { .. }), "{broken}");
}

/// A handler that decides by something that no context gave it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moody(u64);

static MOOD: AtomicU64 = AtomicU64::new(1);

entity!(
    Moody,
    Added,
    |state, Added::Added { by }| state.0 += by,
    Add,
    |_, _| Added::Added { by: MOOD.fetch_add(1, Ordering::Relaxed) },
    true
);

#[test]
fn a_handler_that_looks_outside_is_found() {
    let broken = Given::<Moody>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(broken, Broken::Undetermined { .. }), "{broken}");
    assert!(broken.to_string().contains("first:  [Added { by: 1 }]"), "{broken}");
}

/// A state whose form bincode cannot tell when it reads it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

impl Default for Untagged {
    fn default() -> Self {
        Self::Number(0)
    }
}

entity!(
    Untagged,
    Added,
    |state, Added::Added { by }| *state = Self::Text(by.to_string()),
    Add,
    |_, command| added(command),
    true
);

#[test]
fn a_state_that_cannot_be_read_is_found() {
    let broken = Given::<Untagged>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(&broken, Broken::Unreadable { what, .. } if what == "the state"), "{broken}");
}

/// A command that loses a field on its way to the entity.
#[derive(Debug, PartialEq, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Mumble {
    #[serde(skip)]
    by: u64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Listener(u64);

entity!(
    Listener,
    Added,
    |state, Added::Added { by }| state.0 += by,
    Mumble,
    |_, Mumble { by }| Added::Added { by },
    true
);

#[test]
fn a_command_that_loses_a_field_is_found() {
    let broken = Given::<Listener>::nothing().try_when(Mumble { by: 2 }).unwrap_err();
    assert!(matches!(&broken, Broken::Altered { what, .. } if what.contains("mumble")), "{broken}");
}

/// A handler that nobody registered.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Deaf(u64);

entity!(
    Deaf,
    Added,
    |state, Added::Added { by }| state.0 += by,
    Add,
    |_, command| added(command),
    false
);

/// Law La6: a command that no handler knows is reported.
#[test]
fn a_command_that_is_not_registered_is_found() {
    let broken = Given::<Deaf>::nothing().try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(broken, Broken::NotAnswered { .. }), "{broken}");
    assert!(broken.to_string().contains("name each command in `Entity::commands`"), "{broken}");
}

/// `apply` that refuses what happened.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Brittle(u64);

entity!(Brittle, Added, |_, _| panic!("no more"), Add, |_, command| added(command), true);

#[test]
fn an_apply_that_panics_over_the_past_is_found() {
    let given = Given::<Brittle>::events([Added::Added { by: 1 }]);
    let broken = given.try_when(Add { by: 2 }).unwrap_err();
    assert!(matches!(broken, Broken::PanickedInApply { .. }), "{broken}");
    // Over an event of the command itself it is an ordinary failure of the command.
    Given::<Brittle>::nothing().when(Add { by: 2 }).then_fails("no more");
}
