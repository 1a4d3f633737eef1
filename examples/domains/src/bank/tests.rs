//! What an account does, told as given, when, then. Nothing runs here but the account: a test of an entity needs no node.

use holm_kit::Given;

use super::*;

fn opened() -> AccountEvent {
    AccountEvent::Opened { owner: "ada".into() }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount }
}

#[test]
fn every_reply_is_the_balance() {
    Given::<Account>::nothing()
        .when(Open { owner: "ada".into() })
        .then_events([opened()])
        .then_reply(0)
        .when(Deposit { amount: 100 })
        .then_events([deposited(100)])
        .then_reply(100)
        .when(Withdraw { amount: 60 })
        .then_events([AccountEvent::Withdrawn { amount: 60 }])
        .then_reply(40)
        .when(Balance {})
        .then_reply(40)
        .when(Close {})
        .then_events([AccountEvent::Closed { paid_out: 40 }])
        .then_reply(0)
        .then_rests()
        .then_state(Account { status: Status::Closed, owner: "ada".into(), balance: 0 });
}

#[test]
fn nothing_happens_before_it_is_opened() {
    let nobody = Given::<Account>::nothing();
    nobody.clone().when(Balance {}).then_rejected(AccountRejection::NotOpen {});
    nobody.clone().when(Deposit { amount: 1 }).then_rejected(AccountRejection::NotOpen {});
    nobody.when(Open { owner: " ".into() }).then_rejected(AccountRejection::OwnerMissing {});
}

#[test]
fn an_open_account_cannot_be_opened_again() {
    let already = AccountRejection::AlreadyOpen { owner: "ada".into() };
    Given::<Account>::events([opened()]).when(Open { owner: "bob".into() }).then_rejected(already);
}

#[test]
fn money_that_is_not_there_cannot_be_withdrawn() {
    Given::<Account>::events([opened(), deposited(100)])
        .when(Withdraw { amount: 101 })
        .then_rejected(AccountRejection::Overdraft { balance: 100, amount: 101 })
        .when(Withdraw { amount: 100 })
        .then_reply(0);
}

#[test]
fn an_amount_is_above_zero_and_can_be_counted() {
    Given::<Account>::events([opened(), deposited(1)])
        .when(Deposit { amount: 0 })
        .then_rejected(AccountRejection::ZeroAmount {})
        .when(Withdraw { amount: 0 })
        .then_rejected(AccountRejection::ZeroAmount {})
        .when(Deposit { amount: u64::MAX })
        .then_rejected(AccountRejection::Overflow { balance: 1, amount: u64::MAX })
        .when(Deposit { amount: u64::MAX - 1 })
        .then_reply(u64::MAX);
}

#[test]
fn a_closed_account_stays_closed() {
    let closed = AccountRejection::Closed {};
    let account = Given::<Account>::events([opened(), AccountEvent::Closed { paid_out: 0 }]);
    account.clone().when(Open { owner: "ada".into() }).then_rejected(closed.clone());
    account.clone().when(Deposit { amount: 1 }).then_rejected(closed.clone());
    account.clone().when(Withdraw { amount: 1 }).then_rejected(closed.clone());
    account.clone().when(Close {}).then_rejected(closed.clone());
    account.when(Balance {}).then_rejected(closed);
}

#[test]
fn a_rejection_is_an_object_with_its_name_as_key() {
    let json = |rejection| serde_json::to_string::<AccountRejection>(&rejection).unwrap();
    assert_eq!(json(AccountRejection::NotOpen {}), r#"{"not_open":{}}"#);
    assert_eq!(
        json(AccountRejection::Overdraft { balance: 1, amount: 2 }),
        r#"{"overdraft":{"balance":1,"amount":2}}"#
    );
}
