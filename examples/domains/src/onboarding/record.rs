//! The criminal record check: a service that asks an office and waits. The office answers when it does, or never: then the request lapses.

use std::time::Duration;

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle};
use serde::{Deserialize, Serialize};

use super::Application;

/// The request about one applicant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCheck {
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Unasked,
    Pending,
    Over,
}

/// Asks the office. The reply says that it was asked, not what it found.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct RequestRecord {
    /// About whom.
    pub application: Application,
    /// How long the request stands; without it, until it is answered or taken back.
    pub within: Option<Duration>,
}

/// The office has looked.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct EnterRecord {
    /// Whether nothing was found.
    pub clean: bool,
}

/// Takes a request back that is pending. Any other is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct DropRequest {}

/// The time of a request is over: its own timer.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(internal)]
pub struct Lapse {}

/// A fact about a request.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum RecordEvent {
    /// The office is asked.
    Requested {
        /// About whom.
        application: Application,
    },
    /// It found nothing.
    Clean {},
    /// It found something.
    Tainted {},
    /// It did not answer in time.
    Lapsed {},
    /// The request was taken back.
    Dropped {},
}

/// Why the service refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordRejection {
    /// Nobody asked, or nobody waits any more.
    #[error("no request is pending")]
    NotPending {},
}

impl Entity for RecordCheck {
    const TYPE: &'static str = "record-check";
    type Event = RecordEvent;
    type Rejection = RecordRejection;

    fn apply(&mut self, event: &RecordEvent) {
        self.state = match event {
            RecordEvent::Requested { .. } => State::Pending,
            _ => State::Over,
        };
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<RequestRecord>().handle::<EnterRecord>();
        commands.handle::<DropRequest>().handle::<Lapse>();
    }
}

type Decision = Result<Effect<RecordCheck, ()>, RecordRejection>;

impl Handle<RequestRecord> for RecordCheck {
    fn handle(&self, request: RequestRecord, cx: &mut Context<'_, Self>) -> Decision {
        let RequestRecord { application, within } = request;
        if self.state != State::Unasked {
            return Ok(cx.none().no_reply());
        }
        let requested = cx.persist(RecordEvent::Requested { application });
        Ok(match within {
            Some(within) => requested.after(within, Lapse {}).no_reply(),
            None => requested.no_reply(),
        })
    }
}

impl Handle<EnterRecord> for RecordCheck {
    fn handle(&self, EnterRecord { clean }: EnterRecord, cx: &mut Context<'_, Self>) -> Decision {
        if self.state != State::Pending {
            return Err(RecordRejection::NotPending {});
        }
        let found = if clean { RecordEvent::Clean {} } else { RecordEvent::Tainted {} };
        Ok(cx.persist(found).no_reply())
    }
}

impl Handle<DropRequest> for RecordCheck {
    fn handle(&self, _: DropRequest, cx: &mut Context<'_, Self>) -> Decision {
        Ok(cx.persist_all(self.while_pending(RecordEvent::Dropped {})).no_reply())
    }
}

impl Handle<Lapse> for RecordCheck {
    fn handle(&self, _: Lapse, cx: &mut Context<'_, Self>) -> Decision {
        Ok(cx.persist_all(self.while_pending(RecordEvent::Lapsed {})).no_reply())
    }
}

impl RecordCheck {
    fn while_pending(&self, event: RecordEvent) -> Option<RecordEvent> {
        (self.state == State::Pending).then_some(event)
    }
}
