//! What a transfer does at each step, told as given, when, then.

use holm::NotDone;
use holm_kit::{Given, When};

use super::*;
use crate::bank::AccountRejection;

type Withdrawal = Answered<Account, Withdraw>;
type Deposited = Answered<Account, Deposit>;

fn start() -> Start {
    Start { from: "ada".into(), to: "bob".into(), amount: 40 }
}

fn started() -> TransferEvent {
    TransferEvent::Started { from: "ada".into(), to: "bob".into(), amount: 40 }
}

fn withdrawing() -> Given<Transfer> {
    Given::events([started()])
}

fn depositing() -> Given<Transfer> {
    withdrawing().and(TransferEvent::Withdrawn {})
}

fn refunding() -> Given<Transfer> {
    depositing().and(TransferEvent::TurnedBack { reason: "closed".into() })
}

fn failed<R>(outcome: Outcome) -> NotDone<R> {
    NotDone::Failed { outcome, reason: "it failed".into() }
}

/// The money is to go back to where it came from, and nothing else is sent.
fn then_turns_back<C: holm_kit::TestedCommand>(when: When<Transfer, C>, why: &str) {
    when.then_events([TransferEvent::TurnedBack { reason: why.into() }])
        .then_sends::<Account, _>("ada", Deposit { amount: 40 })
        .then_sends_nothing();
}

#[test]
fn money_leaves_and_arrives() {
    Given::<Transfer>::nothing()
        .when(start())
        .then_events([started()])
        .then_sends::<Account, _>("ada", Withdraw { amount: 40 })
        .then_timer(DEADLINE, Deadline {})
        .then_sends_nothing()
        .when(Withdrawal::new("ada", Ok(60)))
        .then_events([TransferEvent::Withdrawn {}])
        .then_sends::<Account, _>("bob", Deposit { amount: 40 })
        .then_sends_nothing()
        .when(Deposited::new("bob", Ok(40)))
        .then_events([TransferEvent::Completed {}])
        .then_sends_nothing()
        .when(Deadline {})
        .then_no_events();
}

#[test]
fn money_that_cannot_leave_stays() {
    let overdraft = AccountRejection::Overdraft { balance: 3, amount: 40 };
    let reason = overdraft.to_string();
    withdrawing()
        .when(Withdrawal::new("ada", Err(NotDone::Rejected(overdraft))))
        .then_events([TransferEvent::Failed { reason }])
        .then_sends_nothing();
    withdrawing()
        .when(Withdrawal::new("ada", Err(failed(Outcome::NotApplied))))
        .then_events([TransferEvent::Failed { reason: "it failed".into() }])
        .then_sends_nothing();
}

#[test]
fn money_that_surely_did_not_arrive_goes_back() {
    let closed = NotDone::Rejected(AccountRejection::Closed {});
    then_turns_back(depositing().when(Deposited::new("bob", Err(closed))), "the account is closed");
    let failed = failed(Outcome::NotApplied);
    then_turns_back(depositing().when(Deposited::new("bob", Err(failed))), "it failed");
    refunding()
        .when(Deposited::new("ada", Ok(100)))
        .then_events([TransferEvent::Refunded {}])
        .then_sends_nothing();
}

/// Whoever does not know where the money is must not pay it out again.
#[test]
fn money_whose_place_is_unknown_stays_where_it_is() {
    let stranded = || TransferEvent::Stranded { reason: "it failed".into() };
    withdrawing()
        .when(Withdrawal::new("ada", Err(failed(Outcome::Unknown))))
        .then_events([stranded()])
        .then_sends_nothing();
    depositing()
        .when(Deposited::new("bob", Err(failed(Outcome::Unknown))))
        .then_events([stranded()])
        .then_sends_nothing();
    refunding()
        .when(Deposited::new("ada", Err(failed(Outcome::NotApplied))))
        .then_events([stranded()])
        .then_sends_nothing();
}

/// The deadline never decides about a step that was sent, only about the next one.
#[test]
fn a_deadline_stops_what_was_not_sent_yet() {
    let late = withdrawing().when(Deadline {}).then_events([TransferEvent::DeadlinePassed {}]);
    let late = late.then_sends_nothing();
    then_turns_back(late.when(Withdrawal::new("ada", Ok(60))), "the deadline passed");
    depositing()
        .when(Deadline {})
        .then_events([TransferEvent::DeadlinePassed {}])
        .then_sends_nothing()
        .when(Deposited::new("bob", Ok(40)))
        .then_events([TransferEvent::Completed {}])
        .then_sends_nothing();
}

/// Neither a refund under way nor an end changes its mind because of the deadline.
#[test]
fn a_deadline_that_comes_on_the_way_back_or_after_the_end_sends_nothing() {
    refunding()
        .when(Deadline {})
        .then_events([TransferEvent::DeadlinePassed {}])
        .then_sends_nothing()
        .when(Deposited::new("ada", Ok(100)))
        .then_events([TransferEvent::Refunded {}])
        .then_sends_nothing();
    let refused = withdrawing().and(TransferEvent::Failed { reason: "overdraft".into() });
    refused.when(Deadline {}).then_no_events().then_sends_nothing();
}

#[test]
fn a_transfer_is_refused_before_anything_is_sent() {
    let unstarted = Given::<Transfer>::nothing();
    unstarted.clone().when(TransferStatus {}).then_rejected(TransferRejection::NotStarted {});
    let nothing = Start { amount: 0, ..start() };
    unstarted.clone().when(nothing).then_rejected(TransferRejection::ZeroAmount {});
    let itself = Start { to: "ada".into(), ..start() };
    unstarted.clone().when(itself).then_rejected(TransferRejection::SameAccount {});
    let nobody = Start { to: String::new(), ..start() };
    let reason = "an entity id must not be empty".into();
    unstarted.when(nobody).then_rejected(TransferRejection::NoAccount { reason });
    withdrawing()
        .when(start())
        .then_rejected(TransferRejection::AlreadyStarted {})
        .then_sends_nothing();
}
