//! The way back, and the end: what was done is undone, the newest first, one after the other.

use holm::{Answered, Context, Effect, Handle, NotDone};

use super::{
    AddressCheck, CreditCheck, Decision, DropRequest, ForgetAddress, Onboarding, OnboardingEvent,
    Outcome, RecordCheck, ReleaseCredit, Stage, Step,
};
use crate::onboarding::{Admit, Customer, DECIDED, Decided, TurnDown};

impl Handle<Answered<RecordCheck, DropRequest>> for Onboarding {
    fn handle(
        &self,
        it: Answered<RecordCheck, DropRequest>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.undone(Step::Record, it.answer, cx))
    }
}

impl Handle<Answered<AddressCheck, ForgetAddress>> for Onboarding {
    fn handle(
        &self,
        it: Answered<AddressCheck, ForgetAddress>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.undone(Step::Address, it.answer, cx))
    }
}

impl Handle<Answered<CreditCheck, ReleaseCredit>> for Onboarding {
    fn handle(
        &self,
        it: Answered<CreditCheck, ReleaseCredit>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.undone(Step::Credit, it.answer, cx))
    }
}

impl Onboarding {
    /// Begins to undo what was done, also by what happens `before` that.
    pub(super) fn turn_back(
        &self,
        outcome: Outcome,
        reason: &str,
        before: impl IntoIterator<Item = OnboardingEvent>,
        cx: &mut Context<'_, Self>,
    ) -> Effect<Self, ()> {
        let mut events: Vec<_> = before.into_iter().collect();
        events.push(OnboardingEvent::TurnedBack { outcome, reason: reason.to_owned() });
        let turned = self.after(&events);
        turned.undo_next(outcome, events, cx)
    }

    fn undone<R: std::fmt::Display>(
        &self,
        step: Step,
        answer: Result<(), NotDone<R>>,
        cx: &mut Context<'_, Self>,
    ) -> Effect<Self, ()> {
        let Stage::Undoing(outcome) = self.stage else { return cx.none().no_reply() };
        match answer {
            Ok(()) => {
                let events = vec![OnboardingEvent::Undone { step }];
                self.after(&events).undo_next(outcome, events, cx)
            }
            Err(why) => {
                cx.persist(OnboardingEvent::Stuck { step, reason: why.to_string() }).no_reply()
            }
        }
    }

    /// Undoes the newest of what is done, or ends when nothing is left; `events` led here.
    fn undo_next(
        &self,
        outcome: Outcome,
        events: Vec<OnboardingEvent>,
        cx: &mut Context<'_, Self>,
    ) -> Effect<Self, ()> {
        match self.done.last() {
            Some(step) => step.undo(cx.persist_all(events), cx.entity_id()).no_reply(),
            None => self.end(outcome, events, cx),
        }
    }

    /// Ends, tells the customer, and publishes the decision.
    pub(super) fn end(
        &self,
        outcome: Outcome,
        before: impl IntoIterator<Item = OnboardingEvent>,
        cx: &mut Context<'_, Self>,
    ) -> Effect<Self, ()> {
        let customer = cx.entity_id().to_owned();
        let ended = [OnboardingEvent::Ended { outcome }];
        let draft = cx.persist_all(before.into_iter().chain(ended));
        let draft = match outcome {
            Outcome::Approved => draft.send::<Customer, _>(&customer, Admit {}),
            Outcome::Rejected | Outcome::TimedOut => {
                draft.send::<Customer, _>(&customer, TurnDown { reason: self.reason.clone() })
            }
        };
        draft
            .publish(&DECIDED, &customer, &Decided { customer: customer.clone(), outcome })
            .no_reply()
    }

    /// The state after these events.
    fn after(&self, events: &[OnboardingEvent]) -> Self {
        let mut state = self.clone();
        events.iter().for_each(|event| holm::Entity::apply(&mut state, event));
        state
    }
}
