//! What can be asked of an onboarding, what can happen to it, and why it refuses.

use std::time::Duration;

use holm::{Command, Event};
use serde::{Deserialize, Serialize};

use super::{Onboarding, Outcome, Step};
use crate::onboarding::Application;

/// Starts the onboarding. The reply says that it is under way, not that it is over.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
pub struct Start {
    /// What the applicant said.
    pub application: Application,
    /// How long it may take.
    pub within: Duration,
}

/// The office answered about the criminal record. A policy sends it.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(internal)]
pub struct Found {
    /// Whether nothing was found.
    pub clean: bool,
}

/// The time that it may take is over: its own timer.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(internal)]
pub struct Deadline {}

/// Tells how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Command, Serialize, Deserialize)]
#[command(name = "status", reply = Onboarding)]
pub struct OnboardingStatus {}

/// A fact about an onboarding.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum OnboardingEvent {
    /// It began; the first check is on its way.
    Started {
        /// What the applicant said.
        application: Application,
    },
    /// A step was taken, or may have been, and is undone should the onboarding end badly.
    Done {
        /// Which.
        step: Step,
    },
    /// It takes longer than it may.
    DeadlinePassed {},
    /// It will end badly; what was done is undone first.
    TurnedBack {
        /// How it will end.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// A step was undone.
    Undone {
        /// Which.
        step: Step,
    },
    /// It is over.
    Ended {
        /// How.
        outcome: Outcome,
    },
    /// A step cannot be undone.
    Stuck {
        /// Which.
        step: Step,
        /// Why.
        reason: String,
    },
}

/// Why an onboarding refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnboardingRejection {
    /// An onboarding happens once.
    #[error("the onboarding was started before")]
    AlreadyStarted {},
    /// Nobody started it.
    #[error("the onboarding was never started")]
    NotStarted {},
}
