//! The address check: a service that registers where an applicant lives. It forgets that again when told so.

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};
use serde::{Deserialize, Serialize};

use super::{Application, Finding};

/// The address of one applicant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressCheck {
    finding: Option<Finding>,
    /// Where the applicant is registered; empty when nowhere.
    street: String,
}

/// Checks the address and registers the applicant there. Asked again, it says the same.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = Finding)]
pub struct CheckAddress {
    /// Whose address.
    pub application: Application,
}

/// Forgets where the applicant lives.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct ForgetAddress {}

/// A fact about somebody's address.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum AddressEvent {
    /// The applicant lives there.
    Confirmed {
        /// Who.
        application: Application,
    },
    /// Nobody knows where the applicant lives.
    NotFound {
        /// Why.
        reason: String,
    },
    /// It is not known any more.
    Forgotten {},
}

impl Entity for AddressCheck {
    const TYPE: &'static str = "address-check";
    type Event = AddressEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &AddressEvent) {
        match event {
            AddressEvent::Confirmed { application } => {
                self.street.clone_from(&application.street);
                self.finding = Some(Finding::Passed {});
            }
            AddressEvent::NotFound { reason } => {
                self.finding = Some(Finding::Failed { reason: reason.clone() });
            }
            AddressEvent::Forgotten {} => self.street.clear(),
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<CheckAddress>().handle::<ForgetAddress>();
    }
}

impl Handle<CheckAddress> for AddressCheck {
    fn handle(
        &self,
        CheckAddress { application }: CheckAddress,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, Finding>, NoRejection> {
        if let Some(finding) = self.finding.clone() {
            return Ok(cx.none().reply(|_| finding));
        }
        let event = if application.street.is_empty() {
            AddressEvent::NotFound { reason: "no street was named".to_owned() }
        } else {
            AddressEvent::Confirmed { application }
        };
        Ok(cx.persist(event).reply(Self::found))
    }
}

impl Handle<ForgetAddress> for AddressCheck {
    fn handle(
        &self,
        _: ForgetAddress,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        let forgotten = (!self.street.is_empty()).then_some(AddressEvent::Forgotten {});
        Ok(cx.persist_all(forgotten).no_reply())
    }
}

impl AddressCheck {
    fn found(&self) -> Finding {
        self.finding.clone().unwrap_or(Finding::Passed {})
    }
}
