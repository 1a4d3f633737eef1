//! On the way: what the answers of the checks, and the deadline, lead to.

use holm::{Answered, Context, Handle, NotDone, Outcome as Sent};

use super::{
    AddressCheck, CheckAddress, CheckCredit, CreditCheck, Deadline, Decision, Found, Onboarding,
    OnboardingEvent, Outcome, RecordCheck, RequestRecord, Stage, Step,
};
use crate::onboarding::Finding;

impl Handle<Answered<CreditCheck, CheckCredit>> for Onboarding {
    fn handle(
        &self,
        it: Answered<CreditCheck, CheckCredit>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.checked(Step::Credit, it.answer, cx))
    }
}

impl Handle<Answered<AddressCheck, CheckAddress>> for Onboarding {
    fn handle(
        &self,
        it: Answered<AddressCheck, CheckAddress>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.checked(Step::Address, it.answer, cx))
    }
}

/// The office was asked. Whether it found something comes later, as [`Found`].
impl Handle<Answered<RecordCheck, RequestRecord>> for Onboarding {
    fn handle(
        &self,
        it: Answered<RecordCheck, RequestRecord>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        Ok(self.checked(Step::Record, it.answer.map(|()| Finding::Passed {}), cx))
    }
}

impl Handle<Found> for Onboarding {
    fn handle(&self, Found { clean }: Found, cx: &mut Context<'_, Self>) -> Decision {
        Ok(match self.stage {
            Stage::Checking(Step::Record) if self.overdue => self.time_out([], cx),
            Stage::Checking(Step::Record) if clean => self.end(Outcome::Approved, [], cx),
            Stage::Checking(Step::Record) => {
                self.turn_back(Outcome::Rejected, "there is a criminal record", [], cx)
            }
            // It is over, or is being undone: the office came too late.
            _ => cx.none().no_reply(),
        })
    }
}

impl Handle<Deadline> for Onboarding {
    fn handle(&self, Deadline {}: Deadline, cx: &mut Context<'_, Self>) -> Decision {
        Ok(match self.stage {
            // The office was surely asked, and nothing else is under way.
            Stage::Checking(Step::Record) if self.done.contains(&Step::Record) => {
                self.time_out([OnboardingEvent::DeadlinePassed {}], cx)
            }
            Stage::Checking(_) => cx.persist(OnboardingEvent::DeadlinePassed {}).no_reply(),
            _ => cx.none().no_reply(),
        })
    }
}

impl Onboarding {
    fn checked<R: std::fmt::Display>(
        &self,
        step: Step,
        answer: Result<Finding, NotDone<R>>,
        cx: &mut Context<'_, Self>,
    ) -> holm::Effect<Self, ()> {
        if self.stage != Stage::Checking(step) || self.done.contains(&step) {
            return cx.none().no_reply();
        }
        let done = [OnboardingEvent::Done { step }];
        match answer {
            Ok(Finding::Passed {}) if self.overdue => self.time_out(done, cx),
            Ok(Finding::Passed {}) => {
                let draft = cx.persist_all(done);
                match step.next() {
                    Some(next) => {
                        next.check(draft, cx.entity_id(), self.application.clone()).no_reply()
                    }
                    None => draft.no_reply(),
                }
            }
            Ok(Finding::Failed { reason }) => self.turn_back(Outcome::Rejected, &reason, [], cx),
            Err(why) if why.outcome() == Sent::NotApplied => {
                self.turn_back(Outcome::Rejected, &why.to_string(), [], cx)
            }
            // It may have been done, so it is undone.
            Err(why) => self.turn_back(Outcome::Rejected, &why.to_string(), done, cx),
        }
    }

    fn time_out(
        &self,
        before: impl IntoIterator<Item = OnboardingEvent>,
        cx: &mut Context<'_, Self>,
    ) -> holm::Effect<Self, ()> {
        self.turn_back(Outcome::TimedOut, "it took too long", before, cx)
    }
}
