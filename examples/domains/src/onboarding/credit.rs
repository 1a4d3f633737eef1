//! The credit check: a service that sets credit aside for an applicant, or does not. What was set aside can be released again.

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};
use serde::{Deserialize, Serialize};

use super::{Application, Finding};

/// More than this, in cents, nobody gets.
pub const HIGHEST_CREDIT: u64 = 1_000_000;

/// The credit of one applicant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditCheck {
    finding: Option<Finding>,
    /// What is set aside at present, in cents.
    reserved: u64,
}

/// Checks, and sets the credit aside when there is nothing against it. Asked again, it says the same.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(reply = Finding)]
pub struct CheckCredit {
    /// Who asks for it, and for how much.
    pub application: Application,
}

/// Releases what was set aside, if anything was.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct ReleaseCredit {}

/// A fact about somebody's credit.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum CreditEvent {
    /// It is good, and the credit is set aside.
    Reserved {
        /// Who asked for it.
        application: Application,
    },
    /// It is not good.
    Refused {
        /// Why.
        reason: String,
    },
    /// The credit is free again.
    Released {},
}

impl Entity for CreditCheck {
    const TYPE: &'static str = "credit-check";
    type Event = CreditEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &CreditEvent) {
        match event {
            CreditEvent::Reserved { application } => {
                self.reserved = application.credit;
                self.finding = Some(Finding::Passed {});
            }
            CreditEvent::Refused { reason } => {
                self.finding = Some(Finding::Failed { reason: reason.clone() });
            }
            CreditEvent::Released {} => self.reserved = 0,
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<CheckCredit>().handle::<ReleaseCredit>();
    }
}

impl Handle<CheckCredit> for CreditCheck {
    fn handle(
        &self,
        CheckCredit { application }: CheckCredit,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, Finding>, NoRejection> {
        if let Some(finding) = self.finding.clone() {
            return Ok(cx.none().reply(|_| finding));
        }
        let event = if application.credit <= HIGHEST_CREDIT {
            CreditEvent::Reserved { application }
        } else {
            CreditEvent::Refused { reason: "nobody gets that much credit".to_owned() }
        };
        Ok(cx.persist(event).reply(Self::found))
    }
}

impl Handle<ReleaseCredit> for CreditCheck {
    fn handle(
        &self,
        _: ReleaseCredit,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        let released = (self.reserved > 0).then_some(CreditEvent::Released {});
        Ok(cx.persist_all(released).no_reply())
    }
}

impl CreditCheck {
    fn found(&self) -> Finding {
        self.finding.clone().unwrap_or(Finding::Passed {})
    }
}
