//! An entity that sends others on errands and writes down what it is told.

use std::time::Duration;

use holm_core::Timestamp;
use holm_runtime::bus::TopicName;
use holm_runtime::{
    Answered, Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, NotDone, Read,
};
use serde::{Deserialize, Serialize};

use crate::account::{Account, Panic, PanicAt, Refused, Withdraw};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Errand {
    told: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Told {
    Answer(Box<str>, Result<u64, NotDone<Refused>>),
    Alarm(Timestamp),
}

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum ErrandEvent {
    Started,
    Heard { told: Told },
}

/// Withdraws from each of these, panics in each of those, and sets an alarm.
#[derive(Debug, Default, Command, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) withdraw: Vec<(String, u64)>,
    pub(crate) panic: Vec<String>,
    pub(crate) alarm: Option<Duration>,
    pub(crate) announce: Vec<String>,
}

/// What errands announce, the messages of all under one key.
pub(crate) const ANNOUNCED: TopicName<String> = TopicName::new("announced");

impl Start {
    pub(crate) fn withdrawing(from: &str, amount: u64) -> Self {
        Self { withdraw: vec![(from.into(), amount)], ..Self::default() }
    }

    pub(crate) fn panicking(account: &str) -> Self {
        Self { panic: vec![account.into()], ..Self::default() }
    }

    pub(crate) fn announcing(messages: &[&str]) -> Self {
        let announce = messages.iter().map(|message| (*message).into()).collect();
        Self { announce, ..Self::default() }
    }

    pub(crate) fn alarm(after: Duration) -> Self {
        Self { alarm: Some(after), ..Self::default() }
    }
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(internal)]
pub(crate) struct Ring {}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Vec<Told>)]
pub(crate) struct Seen {}

type Withdrawn = Answered<Account, Withdraw>;
type Panicked = Answered<Account, Panic>;

impl Entity for Errand {
    const TYPE: &'static str = "errand";
    type Event = ErrandEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &ErrandEvent) {
        if let ErrandEvent::Heard { told } = event {
            self.told.push(told.clone());
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Start>()
            .handle::<Ring>()
            .handle::<Withdrawn>()
            .handle::<Panicked>()
            .read::<Seen>();
    }
}

impl Handle<Start> for Errand {
    fn handle(
        &self,
        start: Start,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        let mut draft = cx.persist(ErrandEvent::Started);
        for (id, amount) in start.withdraw {
            draft = draft.send_for_answer::<Account, _>(&id, Withdraw { amount });
        }
        for id in start.panic {
            draft = draft.send_for_answer::<Account, _>(&id, Panic { at: PanicAt::Handle });
        }
        if let Some(after) = start.alarm {
            draft = draft.after(after, Ring {});
        }
        for message in start.announce {
            draft = draft.publish(&ANNOUNCED, "errands", &message);
        }
        Ok(draft.no_reply())
    }
}

impl Errand {
    fn hear(told: Told, cx: &mut Context<'_, Self>) -> Result<Effect<Self, ()>, NoRejection> {
        Ok(cx.persist(ErrandEvent::Heard { told }).no_reply())
    }
}

impl Handle<Ring> for Errand {
    fn handle(&self, _: Ring, cx: &mut Context<'_, Self>) -> Result<Effect<Self, ()>, NoRejection> {
        Self::hear(Told::Alarm(cx.now()), cx)
    }
}

impl Handle<Withdrawn> for Errand {
    fn handle(
        &self,
        answer: Withdrawn,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Self::hear(Told::Answer(answer.by, answer.answer), cx)
    }
}

impl Handle<Panicked> for Errand {
    fn handle(
        &self,
        answer: Panicked,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Self::hear(Told::Answer(answer.by, answer.answer), cx)
    }
}

impl Read<Seen> for Errand {
    fn read(&self, _: Seen, _: &Context<'_, Self>) -> Result<Vec<Told>, NoRejection> {
        Ok(self.told.clone())
    }
}
