//! Money that moves between accounts while its node comes and goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holm::{
    AskError, Caller, Entity, EntityAddress, EntityError, EntityRef, Holm, ManualClock, Registry,
    SeededEntropy, SequenceNumber, ShardId, Term, Timestamp, decode, shard_of,
};
use holm_domains::bank::transfer::{DEADLINE, Stage, Start, TransferStatus};
use holm_domains::bank::{Account, AccountEvent, Balance, Close, Deposit, Open, Transfer};
use holm_persistence::MemoryLog;
use holm_runtime::{HostOptions, ShardHost};
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

/// Promise G6: a withdrawal that turns out to have happened after the deadline is paid back: on a running node whose clock is the test's, where the paying account
/// cannot be reached before the deadline has passed.
#[tokio::test]
async fn a_withdrawal_that_came_too_late_is_paid_back() {
    const SHARDS: u32 = 8;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
    let registry = Registry::new().entity::<Account>().entity::<Transfer>();
    let options = HostOptions {
        clock: clock.clone(),
        tick_interval: Duration::from_millis(5),
        ..HostOptions::new(registry, SHARDS)
    };
    let host = ShardHost::start(options, Arc::new(MemoryLog::new())).unwrap();
    for shard in (0..SHARDS).map(ShardId) {
        host.lead(shard, Term(1)).await.unwrap();
    }
    host.connect_to_itself();
    let (asker, timeout) = (Arc::new(host.clone()), Duration::from_secs(10));
    let caller = Caller::new(asker, clock.clone(), timeout, SeededEntropy::new(1));
    let account = |id: &str| EntityRef::<Account>::new(Arc::clone(&caller), id);
    for id in ["a", "b"] {
        account(id).ask(Open { owner: "Ada".into() }).await.unwrap();
        account(id).ask(Deposit { amount: OPENING }).await.unwrap();
    }
    let at = |entity: &str, id: &str| shard_of(&EntityAddress::new(entity, id).unwrap(), SHARDS);
    let payer = at(Account::TYPE, "a");
    let id = (0..).map(|n| format!("t{n}")).find(|id| at(Transfer::TYPE, id) != payer).unwrap();
    let transfer = EntityRef::<Transfer>::new(Arc::clone(&caller), &id);
    // What of the outbox is tried again later is tried by this clock too.
    let until = async |wanted: fn(&Transfer) -> bool| loop {
        let status = transfer.ask(TransferStatus {}).await.unwrap();
        if wanted(&status) {
            return status;
        }
        clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };

    host.depose(payer);
    while host.is_leading(payer) {
        tokio::task::yield_now().await;
    }
    let (from, to) = ("a".to_owned(), "b".to_owned());
    transfer.ask(Start { from, to, amount: 40 }).await.unwrap();
    clock.advance(DEADLINE);
    let overdue = until(|transfer| transfer.overdue).await;
    assert_eq!(overdue.stage, Stage::Withdrawing, "nobody knows yet what becomes of it");
    host.lead(payer, Term(2)).await.unwrap();
    let over = until(|transfer| {
        transfer.stage != Stage::Withdrawing && transfer.stage != Stage::Refunding
    })
    .await;
    assert_eq!((over.stage, &*over.reason), (Stage::Refunded, "the deadline passed"));
    for id in ["a", "b"] {
        assert_eq!(account(id).ask(Balance {}).await, Ok(OPENING), "{id}");
    }
    host.stop().await;
}
