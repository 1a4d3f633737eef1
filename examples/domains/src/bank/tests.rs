//! What an account does, told as given, when, then, through the API that a service uses.

use holm::{Entity, EntityError, EntityRef, Holm};

use super::*;

type Refused = EntityError<AccountRejection>;

/// An account on a node of its own.
async fn account(given: &[AccountEvent]) -> (Holm, EntityRef<Account>) {
    let holm = Holm::builder().entity::<Account>().in_memory().shards(1).arbiters(1);
    let holm = holm.start().await.unwrap();
    let account = holm.entity::<Account>("alice");
    for event in given {
        match event {
            AccountEvent::Opened { owner } => account.ask(Open { owner: owner.clone() }).await,
            AccountEvent::Deposited { amount } => account.ask(Deposit { amount: *amount }).await,
            AccountEvent::Withdrawn { amount } => account.ask(Withdraw { amount: *amount }).await,
            AccountEvent::Closed { .. } => account.ask(Close {}).await,
        }
        .unwrap();
    }
    (holm, account)
}

fn opened() -> AccountEvent {
    AccountEvent::Opened { owner: "ada".into() }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount }
}

fn rejected(rejection: AccountRejection) -> Result<u64, Refused> {
    Err(EntityError::Rejected(rejection))
}

#[test]
fn the_state_is_what_the_events_say() {
    let mut account = Account::default();
    let withdrawn = AccountEvent::Withdrawn { amount: 60 };
    for event in [opened(), deposited(100), withdrawn, AccountEvent::Closed { paid_out: 40 }] {
        account.apply(&event);
    }
    let closed = Account { status: Status::Closed, owner: "ada".into(), balance: 0 };
    assert_eq!(account, closed);
}

#[tokio::test]
async fn every_reply_is_the_balance() {
    let (holm, account) = account(&[]).await;
    assert_eq!(account.ask(Open { owner: "ada".into() }).await, Ok(0));
    assert_eq!(account.ask(Deposit { amount: 100 }).await, Ok(100));
    assert_eq!(account.ask(Withdraw { amount: 60 }).await, Ok(40));
    assert_eq!(account.ask(Balance {}).await, Ok(40));
    assert_eq!(account.ask(Close {}).await, Ok(0));
    holm.shutdown().await;
}

#[tokio::test]
async fn nothing_happens_before_it_is_opened() {
    let (holm, account) = account(&[]).await;
    assert_eq!(account.ask(Balance {}).await, rejected(AccountRejection::NotOpen {}));
    let deposit = account.ask(Deposit { amount: 1 }).await;
    assert_eq!(deposit, rejected(AccountRejection::NotOpen {}));
    let open = account.ask(Open { owner: " ".into() }).await;
    assert_eq!(open, rejected(AccountRejection::OwnerMissing {}));
    holm.shutdown().await;
}

#[tokio::test]
async fn an_open_account_cannot_be_opened_again() {
    let (holm, account) = account(&[opened()]).await;
    let again = account.ask(Open { owner: "bob".into() }).await;
    assert_eq!(again, rejected(AccountRejection::AlreadyOpen { owner: "ada".into() }));
    holm.shutdown().await;
}

#[tokio::test]
async fn money_that_is_not_there_cannot_be_withdrawn() {
    let (holm, account) = account(&[opened(), deposited(100)]).await;
    let withdraw = account.ask(Withdraw { amount: 101 }).await;
    assert_eq!(withdraw, rejected(AccountRejection::Overdraft { balance: 100, amount: 101 }));
    assert_eq!(account.ask(Withdraw { amount: 100 }).await, Ok(0));
    holm.shutdown().await;
}

#[tokio::test]
async fn an_amount_is_above_zero_and_can_be_counted() {
    let (holm, account) = account(&[opened(), deposited(1)]).await;
    let nothing = account.ask(Deposit { amount: 0 }).await;
    assert_eq!(nothing, rejected(AccountRejection::ZeroAmount {}));
    let nothing = account.ask(Withdraw { amount: 0 }).await;
    assert_eq!(nothing, rejected(AccountRejection::ZeroAmount {}));
    let too_much = account.ask(Deposit { amount: u64::MAX }).await;
    let overflow = AccountRejection::Overflow { balance: 1, amount: u64::MAX };
    assert_eq!(too_much, rejected(overflow));
    assert_eq!(account.ask(Deposit { amount: u64::MAX - 1 }).await, Ok(u64::MAX));
    holm.shutdown().await;
}

#[tokio::test]
async fn a_closed_account_stays_closed() {
    let (holm, account) = account(&[opened(), AccountEvent::Closed { paid_out: 0 }]).await;
    for answer in [
        account.ask(Open { owner: "ada".into() }).await,
        account.ask(Deposit { amount: 1 }).await,
        account.ask(Withdraw { amount: 1 }).await,
        account.ask(Close {}).await,
        account.ask(Balance {}).await,
    ] {
        assert_eq!(answer, rejected(AccountRejection::Closed {}));
    }
    holm.shutdown().await;
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
