//! Money that moves between accounts while its node comes and goes.

use std::path::Path;
use std::time::Duration;

use holm::{AskError, EntityAddress, EntityError, EntityRef, Holm, SequenceNumber, decode};
use holm_domains::bank::transfer::{Stage, Start, TransferStatus};
use holm_domains::bank::{Account, AccountEvent, Balance, Close, Deposit, Open, Transfer};
use tokio::task::JoinSet;

const ACCOUNTS: u64 = 50;
const TRANSFERS: u64 = 1_000;
const OPENING: u64 = 1_000;

/// Accounts that are closed half way.
const CLOSED: [u64; 2] = [3, 4];

/// Transfers that are started in one life of the node.
const IN_ONE_LIFE: u64 = 200;

async fn start(dir: &Path) -> Holm {
    let builder = Holm::builder().entity::<Account>().entity::<Transfer>();
    builder.data_dir(dir).shards(8).start().await.unwrap()
}

fn account(holm: &Holm, number: u64) -> EntityRef<Account> {
    holm.entity(format!("a{}", number % ACCOUNTS))
}

/// Starts the transfers of one life of the node, all at once.
async fn start_transfers(holm: &Holm, first: u64) {
    let mut starts = JoinSet::new();
    for number in first..first + IN_ONE_LIFE {
        let transfer = holm.entity::<Transfer>(format!("t{number}"));
        let from = format!("a{}", number % ACCOUNTS);
        let to = format!("a{}", (number * 7 + 1) % ACCOUNTS);
        // One in seven asks for more than anybody has.
        let amount = if number % 7 == 0 { 1_000_000 } else { number % 40 + 1 };
        starts.spawn(async move { transfer.ask(Start { from, to, amount }).await });
    }
    for started in starts.join_all().await {
        // From an account to itself: refused, and not started.
        assert!(matches!(started, Ok(()) | Err(EntityError::Rejected(_))), "{started:?}");
    }
}

/// What was paid out when the account was closed; zero when it never was.
async fn paid_out(holm: &Holm, number: u64) -> u64 {
    let address = EntityAddress::new("account", format!("a{number}")).unwrap();
    let history = holm.inspector().history(address, SequenceNumber::ZERO, 10_000).await.unwrap();
    let events = history.stored_records().into_iter().flat_map(|stored| {
        let record = stored.decode().unwrap();
        let events = record.events.iter().map(|event| decode(event.payload).unwrap());
        events.collect::<Vec<AccountEvent>>()
    });
    let paid_out = events.map(|event| match event {
        AccountEvent::Closed { paid_out } => paid_out,
        _ => 0,
    });
    paid_out.sum()
}

/// Where a transfer ended; none when it was never started.
async fn ended(holm: &Holm, number: u64) -> Option<Transfer> {
    let transfer = holm.entity::<Transfer>(format!("t{number}"));
    loop {
        match transfer.ask(TransferStatus {}).await {
            Err(EntityError::Rejected(_)) => return None,
            Ok(Transfer {
                stage: Stage::Withdrawing | Stage::Depositing | Stage::Refunding,
                ..
            })
            | Err(EntityError::Failed(AskError::Overloaded { .. })) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return Some(other.unwrap()),
        }
    }
}

/// Promise G2. Promise G6: through restarts that interrupt what is under way, each transfer moves its money once or not at all, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_made_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut holm = start(dir.path()).await;
    for number in 0..ACCOUNTS {
        account(&holm, number).ask(Open { owner: "Ada".into() }).await.unwrap();
        account(&holm, number).ask(Deposit { amount: OPENING }).await.unwrap();
    }
    for life in 0..TRANSFERS / IN_ONE_LIFE {
        start_transfers(&holm, life * IN_ONE_LIFE).await;
        if life == 2 {
            // From now on two accounts neither pay nor receive, whatever is on its way to them.
            for number in CLOSED {
                account(&holm, number).ask(Close {}).await.unwrap();
            }
        }
        holm.shutdown().await;
        drop(holm);
        holm = start(dir.path()).await;
    }
    let (mut failed, mut refunded, mut stranded, mut completed) = (0, 0, 0, 0);
    for number in 0..TRANSFERS {
        let Some(transfer) = ended(&holm, number).await else { continue };
        match transfer.stage {
            Stage::Completed => completed += 1,
            Stage::Failed => failed += 1,
            Stage::Refunded => refunded += 1,
            Stage::Stranded => stranded += transfer.amount,
            stage => panic!("{stage:?} is no end"),
        }
    }
    assert!(
        completed > 0 && failed > 0 && refunded > 0,
        "{completed} {failed} {refunded} {stranded}"
    );
    let mut sum = stranded;
    for number in 0..ACCOUNTS {
        match account(&holm, number).ask(Balance {}).await {
            Ok(balance) => sum += balance,
            Err(error) => assert!(matches!(error, EntityError::Rejected(_)), "{error}"),
        }
        sum += paid_out(&holm, number).await;
    }
    assert_eq!(sum, ACCOUNTS * OPENING);
    holm.shutdown().await;
}
