//! Customers come in by three checks, and nobody steers: each step follows by a policy from what the one before said, on the way out and on the way back.
//!
//! The same services as in `onboarding_orchestration`; `docs/processes.md` says what each is for.

use std::collections::BTreeMap;
use std::time::Duration;

use holm::bus::{Interest, Start};
use holm::{CorrelationId, EntityError, Holm};
use holm_domains::onboarding::{
    Application, Apply, Customer, CustomerStatus, EnterRecord, HIGHEST_CREDIT, RecordCheck,
    Standing, choreography, services,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The office that keeps criminal records has a second here. Nobody watches the whole: that is its own deadline, not one of the onboarding.
    let builder = services(Holm::builder()).policies(choreography(Duration::from_secs(1)));
    let holm = builder.in_memory().start().await?;
    for (name, credit, office) in [
        ("ada", 500, Some(true)),
        ("bob", 500, Some(false)),
        ("cy", HIGHEST_CREDIT + 1, None),
        // The office never answers.
        ("eve", 500, None),
    ] {
        let street = "1 Holm Street".to_owned();
        let application = Application { name: name.to_owned(), credit, street };
        holm.entity::<Customer>(name).ask(Apply { application }).await?;
        if let Some(clean) = office {
            answer(&holm, name, clean).await?;
        }
        let Customer { standing, reason } = decided(&holm, name).await?;
        println!("{name}: {standing:?}{}{reason}", if reason.is_empty() { "" } else { ": " });
    }
    // There is no entity to ask how far it is. What happened is found by the conversation that all of it belongs to.
    for (name, events) in conversations(&holm).await? {
        println!("{name}: {}", events.join(", "));
    }
    holm.shutdown().await;
    Ok(())
}

/// The office enters what it found, as soon as it is asked for it.
async fn answer(holm: &Holm, name: &str, clean: bool) -> anyhow::Result<()> {
    let record = holm.entity::<RecordCheck>(name);
    loop {
        match record.ask(EnterRecord { clean }).await {
            Ok(()) => return Ok(()),
            Err(EntityError::Rejected(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn decided(holm: &Holm, name: &str) -> anyhow::Result<Customer> {
    loop {
        let customer = holm.entity::<Customer>(name).ask(CustomerStatus {}).await?;
        if customer.standing != Standing::Applied {
            return Ok(customer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What happened in each conversation that an application began, in order of time, until the way back is over everywhere.
async fn conversations(holm: &Holm) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut facts = holm.bus().subscribe(Interest::everything(), Start::Beginning).await?;
    let mut found: BTreeMap<CorrelationId, Vec<_>> = BTreeMap::new();
    while let Ok(fact) = tokio::time::timeout(Duration::from_millis(500), facts.next()).await {
        let fact = fact?;
        found.entry(fact.correlation_id()).or_default().push(fact);
    }
    let mut told = BTreeMap::new();
    for mut conversation in found.into_values() {
        conversation.sort_by_key(|fact| (fact.at(), fact.sequence()));
        if conversation.iter().any(|fact| fact.name() == "Applied") {
            let events = conversation
                .iter()
                .map(|fact| format!("{} {}", fact.address().entity_type(), fact.name()));
            told.insert(conversation[0].address().id().to_owned(), events.collect());
        }
    }
    Ok(told)
}
