//! The onboarding: three checks of whoever applies to be a customer, told twice.
//!
//! [`Customer`], [`CreditCheck`], [`AddressCheck`] and [`RecordCheck`] are services of their own that know nothing of each other. What makes a flow of them is
//! - [`orchestration`]: a process manager, [`Onboarding`], that sends each check, watches a deadline, and undoes in reverse order what was done; or
//! - [`choreography`]: policies alone, each of which says what follows from one event of one service.
//!
//! `docs/processes.md` says which is for what. The criminal record came last: neither the credit check nor the address check was touched for it.

mod address;
mod credit;
mod customer;
mod policies;
mod process;
mod record;

use std::time::Duration;

use holm::bus::TopicName;
use serde::{Deserialize, Serialize};

pub use self::address::{AddressCheck, AddressEvent, CheckAddress, ForgetAddress};
pub use self::credit::{CheckCredit, CreditCheck, CreditEvent, HIGHEST_CREDIT, ReleaseCredit};
pub use self::customer::{
    Admit, Apply, Customer, CustomerEvent, CustomerRejection, CustomerStatus, Standing, TurnDown,
};
pub use self::policies::{choreography, orchestration};
pub use self::process::{
    Deadline, Found, Onboarding, OnboardingEvent, OnboardingRejection, OnboardingStatus, Outcome,
    Stage, Start, Step,
};
pub use self::record::{
    DropRequest, EnterRecord, RecordCheck, RecordEvent, RecordRejection, RequestRecord,
};

/// What somebody says who wants to be a customer. Every check gets the whole of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The name.
    pub name: String,
    /// The credit wished for, in whole cents.
    pub credit: u64,
    /// Where the applicant lives; empty when that was not said.
    pub street: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Nothing stands against the applicant.
    Passed {},
    /// Something does.
    Failed {
        /// What.
        reason: String,
    },
}

/// What is published about an onboarding that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Who applied.
    pub customer: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// The decisions of the process manager, for whoever wants to know: letters, statistics.
pub const DECIDED: TopicName<Decided> = TopicName::new("onboarding-decided");

/// How long the office that keeps the criminal records has, unless something else is said.
pub const WITHIN: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Lets a node host the customers and the three checks. Which flow they are part of, the policies say.
pub fn services(builder: holm::Builder) -> holm::Builder {
    builder
        .entity::<Customer>()
        .entity::<CreditCheck>()
        .entity::<AddressCheck>()
        .entity::<RecordCheck>()
}

#[cfg(test)]
mod tests;
