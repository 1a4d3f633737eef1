//! What an onboarding does at each step, told as given, when, then.

use std::time::Duration;

use holm::{NotDone, Outcome as Sent};
use holm_kit::{Given, TestedCommand, When};

use super::*;
use crate::onboarding::{Admit, Customer, DECIDED, Decided, Finding, TurnDown};

const WITHIN: Duration = Duration::from_secs(60);

type Credit = Answered<CreditCheck, CheckCredit>;
type Address = Answered<AddressCheck, CheckAddress>;
type Record = Answered<RecordCheck, RequestRecord>;
type Forgotten = Answered<AddressCheck, ForgetAddress>;

fn application() -> Application {
    Application { name: "Ada".into(), credit: 500, street: "1 Holm Street".into() }
}

fn done(step: Step) -> OnboardingEvent {
    OnboardingEvent::Done { step }
}

fn turned_back(outcome: Outcome, reason: &str) -> OnboardingEvent {
    OnboardingEvent::TurnedBack { outcome, reason: reason.into() }
}

fn checking() -> Given<Onboarding> {
    Given::events([OnboardingEvent::Started { application: application() }]).id("ada")
}

/// All three checks were made, and the office has not answered.
fn asked() -> Given<Onboarding> {
    checking().and(done(Step::Credit)).and(done(Step::Address)).and(done(Step::Record))
}

fn failed<R>(outcome: Sent) -> NotDone<R> {
    NotDone::Failed { outcome, reason: "it failed".into() }
}

/// The customer and the topic hear of the end, and nothing else is sent.
fn then_turned_down<C: TestedCommand>(when: When<Onboarding, C>, outcome: Outcome, reason: &str) {
    when.then_sends::<Customer, _>("ada", TurnDown { reason: reason.into() })
        .then_publishes(&DECIDED, "ada", &Decided { customer: "ada".into(), outcome })
        .then_sends_nothing();
}

/// What was done is undone, the newest first, each after the one before, and then the customer hears of it.
fn then_undone_in_reverse<C: TestedCommand>(
    turned: When<Onboarding, C>,
    outcome: Outcome,
    reason: &str,
) {
    let ended = turned
        .then_sends::<RecordCheck, _>("ada", DropRequest {})
        .then_sends_nothing()
        .when(Answered::<RecordCheck, DropRequest>::new("ada", Ok(())))
        .then_events([OnboardingEvent::Undone { step: Step::Record }])
        .then_sends::<AddressCheck, _>("ada", ForgetAddress {})
        .then_sends_nothing()
        .when(Forgotten::new("ada", Ok(())))
        .then_events([OnboardingEvent::Undone { step: Step::Address }])
        .then_sends::<CreditCheck, _>("ada", ReleaseCredit {})
        .then_sends_nothing()
        .when(Answered::<CreditCheck, ReleaseCredit>::new("ada", Ok(())))
        .then_events([
            OnboardingEvent::Undone { step: Step::Credit },
            OnboardingEvent::Ended { outcome },
        ]);
    then_turned_down(ended, outcome, reason);
}

#[test]
fn three_checks_make_a_customer() {
    Given::<Onboarding>::nothing()
        .id("ada")
        .when(Start { application: application(), within: WITHIN })
        .then_events([OnboardingEvent::Started { application: application() }])
        .then_sends::<CreditCheck, _>("ada", CheckCredit { application: application() })
        .then_timer(WITHIN, Deadline {})
        .then_sends_nothing()
        .when(Credit::new("ada", Ok(Finding::Passed {})))
        .then_events([done(Step::Credit)])
        .then_sends::<AddressCheck, _>("ada", CheckAddress { application: application() })
        .then_sends_nothing()
        .when(Address::new("ada", Ok(Finding::Passed {})))
        .then_events([done(Step::Address)])
        .then_sends::<RecordCheck, _>(
            "ada",
            RequestRecord { application: application(), within: None },
        )
        .then_sends_nothing()
        .when(Record::new("ada", Ok(())))
        .then_events([done(Step::Record)])
        .then_sends_nothing()
        .when(Found { clean: true })
        .then_events([OnboardingEvent::Ended { outcome: Outcome::Approved }])
        .then_sends::<Customer, _>("ada", Admit {})
        .then_publishes(
            &DECIDED,
            "ada",
            &Decided { customer: "ada".into(), outcome: Outcome::Approved },
        )
        .then_sends_nothing()
        .when(Deadline {})
        .then_no_events()
        .then_sends_nothing();
}

#[test]
fn a_first_check_that_fails_has_nothing_to_undo() {
    let poor = Finding::Failed { reason: "too much".into() };
    let ended = checking().when(Credit::new("ada", Ok(poor))).then_events([
        turned_back(Outcome::Rejected, "too much"),
        OnboardingEvent::Ended { outcome: Outcome::Rejected },
    ]);
    then_turned_down(ended, Outcome::Rejected, "too much");
}

#[test]
fn a_record_undoes_everything_in_reverse_order() {
    let reason = "there is a criminal record";
    let turned = asked().when(Found { clean: false });
    let turned = turned.then_events([turned_back(Outcome::Rejected, reason)]);
    then_undone_in_reverse(turned, Outcome::Rejected, reason);
}

#[test]
fn an_office_that_does_not_answer_in_time_undoes_everything_in_reverse_order() {
    let reason = "it took too long";
    let turned = asked()
        .when(Deadline {})
        .then_events([OnboardingEvent::DeadlinePassed {}, turned_back(Outcome::TimedOut, reason)]);
    then_undone_in_reverse(turned, Outcome::TimedOut, reason);
}

/// The office's answer crosses the undoing: nothing of it counts.
#[test]
fn an_answer_of_the_office_that_comes_too_late_changes_nothing() {
    let undoing = asked().and(turned_back(Outcome::TimedOut, "it took too long"));
    undoing.when(Found { clean: true }).then_no_events().then_sends_nothing();
}

/// The deadline never decides about a check that is under way, only about the next step.
#[test]
fn a_deadline_stops_what_was_not_sent_yet() {
    let late = checking().and(done(Step::Credit)).when(Deadline {});
    late.then_events([OnboardingEvent::DeadlinePassed {}])
        .then_sends_nothing()
        .when(Address::new("ada", Ok(Finding::Passed {})))
        .then_events([done(Step::Address), turned_back(Outcome::TimedOut, "it took too long")])
        .then_sends::<AddressCheck, _>("ada", ForgetAddress {})
        .then_sends_nothing();
}

/// What surely did not happen is not undone; what may have happened is.
#[test]
fn a_check_that_fails_is_undone_only_when_it_may_have_been_done() {
    let to_address = || checking().and(done(Step::Credit));
    to_address()
        .when(Address::new("ada", Err(failed(Sent::NotApplied))))
        .then_events([turned_back(Outcome::Rejected, "it failed")])
        .then_sends::<CreditCheck, _>("ada", ReleaseCredit {})
        .then_sends_nothing();
    to_address()
        .when(Address::new("ada", Err(failed(Sent::Unknown))))
        .then_events([done(Step::Address), turned_back(Outcome::Rejected, "it failed")])
        .then_sends::<AddressCheck, _>("ada", ForgetAddress {})
        .then_sends_nothing();
}

/// What is left stays to be undone by a person: the steps before it are not passed over.
#[test]
fn a_step_that_cannot_be_undone_leaves_it_stuck() {
    let undoing = checking().and(done(Step::Credit)).and(done(Step::Address));
    let stuck = undoing
        .and(turned_back(Outcome::TimedOut, "it took too long"))
        .when(Forgotten::new("ada", Err(failed(Sent::NotApplied))))
        .then_events([OnboardingEvent::Stuck { step: Step::Address, reason: "it failed".into() }])
        .then_sends_nothing();
    let state = stuck.when(Deadline {}).then_no_events().when(OnboardingStatus {});
    state.then_reply(Onboarding {
        stage: Stage::Stuck(Step::Address),
        application: application(),
        done: vec![Step::Credit, Step::Address],
        overdue: false,
        reason: "it failed".into(),
    });
}

#[test]
fn it_happens_once() {
    let again = Start { application: application(), within: WITHIN };
    checking().when(again).then_rejected(OnboardingRejection::AlreadyStarted {});
    let never = Given::<Onboarding>::nothing().when(OnboardingStatus {});
    never.then_rejected(OnboardingRejection::NotStarted {});
    // An answer that comes twice, as after a repair by hand.
    let passed = Credit::new("ada", Ok(Finding::Passed {}));
    checking().and(done(Step::Credit)).when(passed).then_no_events().then_sends_nothing();
}
