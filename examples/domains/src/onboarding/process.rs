//! The onboarding: a process manager that sends one check after the other and decides; when it ends badly, it undoes in reverse order what was done.
//!
//! ```text
//! start ─► credit ─► address ─► record ─► approved
//!             │         │          │
//!             └─────────┴──────────┴─► undoing: record, address, credit ─► rejected, or timed out
//! ```
//!
//! Each arrow is stored together with what it sends, so whatever crashes in between, every step is taken once and the process goes on from where it is.
//!
//! **The deadline** decides nothing about a check that was sent and not answered: nobody knows whether it was done, so nobody knows whether it must be undone. It
//! decides about the step after it. For the criminal record the answer says only that the office was asked; from then on the deadline ends the wait.
//!
//! **Undoing** goes one step at a time, the newest first, each when the one before is surely undone. What may have been done counts as done: all three services
//! take an undoing that has nothing to undo. A service that fails each time leaves the process **stuck**: a person must look.

mod checks;
mod messages;
mod undoing;

use holm::{Answered, Commands, Context, Draft, Effect, Entity, Handle, Read};
use serde::{Deserialize, Serialize};

pub use self::messages::{
    Deadline, Found, OnboardingEvent, OnboardingRejection, OnboardingStatus, Start,
};
use super::{
    AddressCheck, Application, CheckAddress, CheckCredit, CreditCheck, DropRequest, ForgetAddress,
    RecordCheck, ReleaseCredit, RequestRecord,
};

/// One applicant on the way to be a customer. Its id is the customer's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onboarding {
    /// How far it is.
    pub stage: Stage,
    /// What the applicant said.
    pub application: Application,
    /// What was done and not undone, in the order in which it was done.
    pub done: Vec<Step>,
    /// The deadline passed before it was over.
    pub overdue: bool,
    /// Why it did not go as it should; empty when it did.
    pub reason: String,
}

/// How far an onboarding is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody started it.
    #[default]
    Unstarted,
    /// A check is to say what it found.
    Checking(Step),
    /// What was done is undone, to end so.
    Undoing(Outcome),
    /// It is over.
    Over(Outcome),
    /// Something cannot be undone, and nothing goes on by itself.
    Stuck(Step),
}

/// The checks, in the order in which they are made. A new one is a line here, and one in each `match` that the compiler then asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Credit is set aside.
    Credit,
    /// The address is registered.
    Address,
    /// The office for criminal records is asked, and answers later.
    Record,
}

/// How an onboarding ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A customer.
    Approved,
    /// A check stands against it.
    Rejected,
    /// It took too long.
    TimedOut,
}

impl Entity for Onboarding {
    const TYPE: &'static str = "onboarding";
    type Event = OnboardingEvent;
    type Rejection = OnboardingRejection;

    fn apply(&mut self, event: &OnboardingEvent) {
        match event {
            OnboardingEvent::Started { application } => {
                self.application = application.clone();
                self.stage = Stage::Checking(Step::Credit);
            }
            OnboardingEvent::Done { step } => {
                self.done.push(*step);
                self.stage = Stage::Checking(step.next().unwrap_or(*step));
            }
            OnboardingEvent::DeadlinePassed {} => self.overdue = true,
            OnboardingEvent::TurnedBack { outcome, reason } => {
                self.stage = Stage::Undoing(*outcome);
                self.reason.clone_from(reason);
            }
            OnboardingEvent::Undone { step } => self.done.retain(|done| done != step),
            OnboardingEvent::Ended { outcome } => self.stage = Stage::Over(*outcome),
            OnboardingEvent::Stuck { step, reason } => {
                self.stage = Stage::Stuck(*step);
                self.reason.clone_from(reason);
            }
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Start>()
            .handle::<Answered<CreditCheck, CheckCredit>>()
            .handle::<Answered<AddressCheck, CheckAddress>>()
            .handle::<Answered<RecordCheck, RequestRecord>>()
            .handle::<Found>()
            .handle::<Deadline>()
            .handle::<Answered<RecordCheck, DropRequest>>()
            .handle::<Answered<AddressCheck, ForgetAddress>>()
            .handle::<Answered<CreditCheck, ReleaseCredit>>()
            .read::<OnboardingStatus>();
    }
}

type Decision = Result<Effect<Onboarding, ()>, OnboardingRejection>;

impl Handle<Start> for Onboarding {
    fn handle(&self, start: Start, cx: &mut Context<'_, Self>) -> Decision {
        let Start { application, within } = start;
        if self.stage != Stage::Unstarted {
            return Err(OnboardingRejection::AlreadyStarted {});
        }
        let started = cx.persist(OnboardingEvent::Started { application: application.clone() });
        let started = Step::Credit.check(started, cx.entity_id(), application);
        Ok(started.after(within, Deadline {}).no_reply())
    }
}

impl Read<OnboardingStatus> for Onboarding {
    fn read(
        &self,
        OnboardingStatus {}: OnboardingStatus,
        _: &Context<'_, Self>,
    ) -> Result<Self, OnboardingRejection> {
        match self.stage {
            Stage::Unstarted => Err(OnboardingRejection::NotStarted {}),
            _ => Ok(self.clone()),
        }
    }
}

impl Step {
    /// The check after this one.
    const fn next(self) -> Option<Self> {
        match self {
            Self::Credit => Some(Self::Address),
            Self::Address => Some(Self::Record),
            Self::Record => None,
        }
    }

    /// Sends the check.
    fn check(
        self,
        draft: Draft<Onboarding>,
        id: &str,
        application: Application,
    ) -> Draft<Onboarding> {
        match self {
            Self::Credit => {
                draft.send_for_answer::<CreditCheck, _>(id, CheckCredit { application })
            }
            Self::Address => {
                draft.send_for_answer::<AddressCheck, _>(id, CheckAddress { application })
            }
            // The deadline is the process's own.
            Self::Record => draft
                .send_for_answer::<RecordCheck, _>(id, RequestRecord { application, within: None }),
        }
    }

    /// Sends what undoes it.
    fn undo(self, draft: Draft<Onboarding>, id: &str) -> Draft<Onboarding> {
        match self {
            Self::Credit => draft.send_for_answer::<CreditCheck, _>(id, ReleaseCredit {}),
            Self::Address => draft.send_for_answer::<AddressCheck, _>(id, ForgetAddress {}),
            Self::Record => draft.send_for_answer::<RecordCheck, _>(id, DropRequest {}),
        }
    }
}

#[cfg(test)]
mod tests;
