//! The views against what the entities say of themselves.

use holm_projections::State;

use super::*;
use crate::bank::transfer::{Stage, Start, TransferStatus};
use crate::bank::{Account, Balance, BookTotals, Close, Deposit, Open, Transfer, Withdraw};
use crate::flights::{Airport, Arrive, Depart, RouteDelay, Totals};

const PATIENCE: Duration = Duration::from_secs(20);

async fn setting() -> (Holm, Views, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let holm = crate::register(Holm::builder().in_memory()).start().await.unwrap();
    let views = Views::start(&holm, dir.path()).unwrap();
    for handle in &views.handles {
        let runs = |status: &holm_projections::Status| status.state == State::Running;
        handle.wait_until(runs, PATIENCE).await.unwrap();
    }
    (holm, views, dir)
}

async fn caught_up(holm: &Holm, views: &Views) {
    let ends = holm.bus().ends().await.unwrap();
    for handle in &views.handles {
        handle.passed_all(&ends, PATIENCE).await.unwrap();
    }
}

async fn end(holm: &Holm, views: &Views) {
    views.stop().await;
    holm.shutdown().await;
}

/// Promise G8: no money appears and none vanishes, at any moment, and caught up the books say what the accounts say.
#[tokio::test]
async fn the_books_balance() {
    let (holm, views, _dir) = setting().await;
    let account = |number: u64| holm.entity::<Account>(format!("a{number}"));
    for number in 0..10 {
        account(number).ask(Open { owner: format!("owner {number}") }).await.unwrap();
    }
    for round in 1..=20u64 {
        for number in 0..10 {
            account(number).ask(Deposit { amount: 10 * round + number }).await.unwrap();
            if (round + number) % 3 == 0 {
                account(number).ask(Withdraw { amount: round }).await.unwrap();
            }
        }
        let totals = Books::totals(&views.books).await.unwrap();
        assert!(totals.is_balanced(), "{totals:?}");
    }
    account(3).ask(Close {}).await.unwrap();
    caught_up(&holm, &views).await;
    let totals = Books::totals(&views.books).await.unwrap();
    let mut balances = 0;
    for number in (0..10).filter(|number| *number != 3) {
        let balance = account(number).ask(Balance {}).await.unwrap();
        let statement = Books::statement(&views.books, &format!("a{number}"), 1).await.unwrap();
        assert_eq!(statement[0].balance.unsigned_abs(), balance);
        balances += balance;
    }
    assert_eq!((totals.balances.unsigned_abs(), totals.open_accounts), (balances, 9));
    assert!(totals.is_balanced(), "{totals:?}");

    let statement = Books::statement(&views.books, "a3", 1_000).await.unwrap();
    assert_eq!((statement[0].event.as_str(), statement[0].balance), ("Closed", 0));
    let sum: i64 = statement.iter().map(|entry| entry.change).sum();
    assert_eq!(sum, 0);
    assert!(statement.is_sorted_by(|newer, older| newer.number == older.number + 1));
    end(&holm, &views).await;
}

/// Promise G8: transfers over many shards, also those that come back, neither pay in nor pay out, and once caught up all money is on accounts again.
#[tokio::test]
async fn transfers_are_no_income() {
    let (holm, views, _dir) = setting().await;
    for number in 0..10 {
        let account = holm.entity::<Account>(format!("a{number}"));
        account.ask(Open { owner: "Ada".into() }).await.unwrap();
        account.ask(Deposit { amount: 100 }).await.unwrap();
    }
    let transfer = |number: u64| holm.entity::<Transfer>(format!("t{number}"));
    for number in 0..40 {
        // Each fourth is for nobody, and its money comes back.
        let to =
            if number % 4 == 0 { "nobody".to_owned() } else { format!("a{}", number * 3 % 10) };
        let start = Start { from: format!("a{}", (number * 7 + 1) % 10), to, amount: 30 };
        // From an account to itself is refused.
        _ = transfer(number).ask(start).await;
    }
    let mut refunded = 0;
    for number in 0..40 {
        let ended = async {
            loop {
                let status = transfer(number).ask(TransferStatus {}).await;
                let Ok(Transfer { stage, .. }) = status else { return Stage::Unstarted };
                if !matches!(stage, Stage::Withdrawing | Stage::Depositing | Stage::Refunding) {
                    return stage;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let stage = tokio::time::timeout(PATIENCE, ended).await.unwrap();
        refunded += u32::from(stage == Stage::Refunded);
    }
    assert!(refunded > 0);
    caught_up(&holm, &views).await;
    let totals = Books::totals(&views.books).await.unwrap();
    let expected = BookTotals {
        open_accounts: 10,
        balances: 1_000,
        on_its_way: 0,
        stranded: 0,
        paid_in: 1_000,
        paid_out: 0,
    };
    assert_eq!(totals, expected);
    end(&holm, &views).await;
}

/// An amount that SQLite cannot hold is set aside and stops nobody.
#[tokio::test]
async fn an_amount_beyond_the_books_is_set_aside() {
    let (holm, views, _dir) = setting().await;
    let account = holm.entity::<Account>("rich");
    account.ask(Open { owner: "Croesus".into() }).await.unwrap();
    account.ask(Deposit { amount: u64::MAX - 5 }).await.unwrap();
    account.ask(Deposit { amount: 5 }).await.unwrap();
    caught_up(&holm, &views).await;
    let totals = Books::totals(&views.books).await.unwrap();
    let expected = BookTotals {
        open_accounts: 1,
        balances: 5,
        on_its_way: 0,
        stranded: 0,
        paid_in: 5,
        paid_out: 0,
    };
    assert_eq!(totals, expected);
    let set_aside = views.handles[0].set_aside().await.unwrap();
    assert_eq!((set_aside.len(), set_aside[0].entity.as_str()), (1, "account/rich"));
    end(&holm, &views).await;
}

/// The airports of the view are the airports; a route counts each flight once.
#[tokio::test]
async fn delays_add_up() {
    let (holm, views, _dir) = setting().await;
    for (number, (from, to)) in [("LAX", "JFK"), ("JFK", "LAX"), ("LAX", "JFK")].iter().enumerate()
    {
        let (delay, distance) = (i32::try_from(number).unwrap() * 20 - 5, 2_475);
        let at = "2026-01-01 10:00".to_owned();
        let depart = Depart { at: at.clone(), delay, distance, to: (*to).into() };
        holm.entity::<Airport>(*from).ask(depart).await.unwrap();
        let arrive = Arrive { at, delay: delay + 1, distance, from: (*from).into() };
        holm.entity::<Airport>(*to).ask(arrive).await.unwrap();
    }
    caught_up(&holm, &views).await;
    for airport in Delays::airports(&views.delays).await.unwrap() {
        let totals = holm.entity::<Airport>(airport.code.as_str()).ask(Totals {}).await.unwrap();
        assert_eq!(
            (totals.departures, totals.arrivals, totals.delay_minutes),
            (airport.departures, airport.arrivals, airport.delay_minutes)
        );
    }
    let route = |origin: &str, destination: &str, flights, delay_minutes| RouteDelay {
        origin: origin.into(),
        destination: destination.into(),
        flights,
        delay_minutes,
    };
    let routes = Delays::latest_routes(&views.delays, 10).await.unwrap();
    assert_eq!(routes, [route("JFK", "LAX", 1, 15), route("LAX", "JFK", 2, 30)]);
    end(&holm, &views).await;
}
