//! Following what happens: a live subscription from now on, and a durable one that goes on where it stopped, also in another process.
//!
//! `cargo run --example subscribe`, and again: the second run counts only what is new.

use holm::bus::{DurableSubscription, Interest, Seen, Start, SubscribeError};
use holm::{EntityError, Holm};
use holm_domains::bank::{Account, AccountEvent, AccountRejection, Deposit, Open, Withdraw};
use std::time::Duration;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let holm = Holm::builder().entity::<Account>().data_dir("data/subscribe").start().await?;

    // Live: what happens from now on, for as long as somebody listens.
    let withdrawals = Interest::of::<Account>().event("Withdrawn");
    let mut live = holm.bus().subscribe(withdrawals, Start::Now).await?;

    // Durable: the name remembers how far it is. Started on three nodes, the three would share the shards.
    let bus = holm.bus();
    let mail = bus.subscribe_durable("mail", Interest::of::<Account>(), Start::Beginning).await?;
    let mailing = tokio::spawn(send_mail(mail));

    for customer in ["ada", "bob"] {
        let account = holm.entity::<Account>(customer);
        match account.ask(Open { owner: customer.to_owned() }).await {
            Ok(_) | Err(EntityError::Rejected(AccountRejection::AlreadyOpen { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        account.ask(Deposit { amount: 100 }).await?;
        account.ask(Withdraw { amount: 30 }).await?;
    }

    for _ in 0..2 {
        let fact = live.next().await?;
        if let AccountEvent::Withdrawn { amount } = fact.event::<Account>()? {
            let (who, number) = (fact.address().id(), fact.sequence());
            println!("live      {who} withdrew {amount} cents (their event {number})");
        }
    }
    println!("mail      {} letters sent", mailing.await??);
    holm.shutdown().await;
    Ok(())
}

/// Sends a letter for each event that comes, until nothing has come for a while.
async fn send_mail(mut facts: DurableSubscription) -> Result<u32, SubscribeError> {
    // After a crash some facts come again: kept with the letters, this knows which were sent.
    let (mut letters, mut seen) = (0, Seen::default());
    while let Ok(fact) = tokio::time::timeout(Duration::from_millis(500), facts.next()).await {
        let fact = fact?;
        if seen.is_new(&fact) {
            println!("mail      to {}: {} at {}", fact.address().id(), fact.name(), fact.at());
            letters += 1;
            seen.note(&fact);
        }
    }
    facts.leave().await?;
    Ok(letters)
}
