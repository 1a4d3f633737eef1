//! Entities that break on demand, one type for each strategy of supervision.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holm_runtime::{
    Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Read, Registry,
    Supervision,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum BrittleEvent {
    Added { amount: u64 },
}

/// Adds, or panics when the amount is 13.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Add {
    pub(crate) amount: u64,
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Total {}

macro_rules! brittle {
    ($($entity:ident $name:literal $supervision:expr $(, in recovery $recovery:expr)?;)*) => {
        $(
            #[derive(Debug, Default, Serialize, Deserialize)]
            pub(crate) struct $entity {
                total: u64,
            }

            impl Entity for $entity {
                const TYPE: &'static str = $name;
                const SUPERVISION: Supervision = $supervision;
                $(const RECOVERY_SUPERVISION: Supervision = $recovery;)?
                type Event = BrittleEvent;
                type Rejection = NoRejection;

                fn apply(&mut self, BrittleEvent::Added { amount }: &BrittleEvent) {
                    self.total += amount;
                    assert_ne!(*amount, 1_000, "a poisoned event");
                }

                fn commands(commands: &mut Commands<Self>) {
                    commands.handle::<Add>().read::<Total>();
                }
            }

            impl Handle<Add> for $entity {
                fn handle(
                    &self,
                    add: Add,
                    cx: &mut Context<'_, Self>,
                ) -> Result<Effect<Self, u64>, NoRejection> {
                    assert_ne!(add.amount, 13, "thirteen");
                    let sulks = Self::TYPE == Sometimes::TYPE && SULKS.load(Ordering::Relaxed);
                    assert!(!sulks, "not today");
                    Ok(cx.persist(BrittleEvent::Added { amount: add.amount }).reply(|it| it.total))
                }
            }

            impl Read<Total> for $entity {
                fn read(&self, _: Total, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
                    Ok(self.total)
                }
            }
        )*

        pub(crate) fn with_brittle(registry: Registry) -> Registry {
            registry$(.entity::<$entity>())*
        }
    };
}

/// Whether [`Sometimes`] panics on everything at the moment.
pub(crate) static SULKS: AtomicBool = AtomicBool::new(false);

brittle! {
    Sometimes "sometimes" Supervision::Resume;
    Resuming "resuming" Supervision::Resume;
    Restarting "restarting" Supervision::restart(Duration::from_millis(100), Duration::from_millis(300))
        .limit(5, Duration::from_secs(60));
    Stopping "stopping" Supervision::Stop;
    Quarantining "quarantining" Supervision::quarantine(3, Duration::from_secs(60));
    Apart "apart" Supervision::Resume, in recovery Supervision::quarantine(2, Duration::from_secs(60));
}
