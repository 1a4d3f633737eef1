//! The customer: applies, and is admitted or turned down by whoever decides that.

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Read};
use serde::{Deserialize, Serialize};

use super::Application;

/// Somebody who applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Where it stands.
    pub standing: Standing,
    /// Why the customer was turned down; empty otherwise.
    pub reason: String,
}

/// Where an application stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody applied.
    #[default]
    Unknown,
    /// It is looked at.
    Applied,
    /// A customer.
    Admitted,
    /// Not a customer.
    TurnedDown,
}

/// Applies. The reply says that it was noted, not what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct Apply {
    /// What is said.
    pub application: Application,
}

/// Makes a customer of an applicant.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct Admit {}

/// Sends an applicant away.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct TurnDown {
    /// Why.
    pub reason: String,
}

/// Tells where the application stands.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(name = "status", reply = Customer)]
pub struct CustomerStatus {}

/// A fact about a customer.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum CustomerEvent {
    /// Somebody wants to be one.
    Applied {
        /// What was said.
        application: Application,
    },
    /// A customer at last.
    Admitted {},
    /// Not to be a customer.
    TurnedDown {
        /// Why.
        reason: String,
    },
}

/// Why a customer refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerRejection {
    /// One applies once.
    #[error("this customer applied before")]
    AppliedBefore {},
    /// Nobody waits for a decision.
    #[error("there is no open application")]
    NotOpen {},
}

impl Entity for Customer {
    const TYPE: &'static str = "customer";
    type Event = CustomerEvent;
    type Rejection = CustomerRejection;

    fn apply(&mut self, event: &CustomerEvent) {
        self.standing = match event {
            CustomerEvent::Applied { .. } => Standing::Applied,
            CustomerEvent::Admitted {} => Standing::Admitted,
            CustomerEvent::TurnedDown { reason } => {
                self.reason.clone_from(reason);
                Standing::TurnedDown
            }
        };
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Apply>().handle::<Admit>().handle::<TurnDown>();
        commands.read::<CustomerStatus>();
    }
}

type Decision = Result<Effect<Customer, ()>, CustomerRejection>;

impl Handle<Apply> for Customer {
    fn handle(&self, Apply { application }: Apply, cx: &mut Context<'_, Self>) -> Decision {
        match self.standing {
            Standing::Unknown => Ok(cx.persist(CustomerEvent::Applied { application }).no_reply()),
            _ => Err(CustomerRejection::AppliedBefore {}),
        }
    }
}

impl Handle<Admit> for Customer {
    fn handle(&self, Admit {}: Admit, cx: &mut Context<'_, Self>) -> Decision {
        self.decided(CustomerEvent::Admitted {}, cx)
    }
}

impl Handle<TurnDown> for Customer {
    fn handle(&self, TurnDown { reason }: TurnDown, cx: &mut Context<'_, Self>) -> Decision {
        self.decided(CustomerEvent::TurnedDown { reason }, cx)
    }
}

impl Customer {
    fn decided(&self, event: CustomerEvent, cx: &mut Context<'_, Self>) -> Decision {
        match self.standing {
            Standing::Applied => Ok(cx.persist(event).no_reply()),
            _ => Err(CustomerRejection::NotOpen {}),
        }
    }
}

impl Read<CustomerStatus> for Customer {
    fn read(&self, _: CustomerStatus, _: &Context<'_, Self>) -> Result<Self, CustomerRejection> {
        Ok(self.clone())
    }
}
