//! Customers come in by three checks, and nobody steers: each step follows by a policy from what the one before said, on the way out and on the way back.
//!
//! The same services as in `onboarding_orchestration`; `docs/processes.md` says what each is for.

use std::time::Duration;

use holm::bus::{Interest, Start};
use holm::flow::{Flow, FlowSearch, Window};
use holm::{EntityError, Holm};
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
    // There is no entity to ask how far it is. What happened is found by the conversations that it belongs to.
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

/// What happened in each conversation, in order of causes. What the office says begins one of its own.
async fn conversations(holm: &Holm) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut facts = holm.bus().subscribe(Interest::everything(), Start::Beginning).await?;
    // Four applied, the office answered twice, and credit was set aside in vain twice.
    let (mut begun, mut released) = (Vec::new(), 0);
    while begun.len() < 6 || released < 2 {
        let fact = facts.next().await?;
        match fact.name() {
            "Applied" | "Clean" | "Tainted" => {
                begun.push((fact.address().id().to_owned(), fact.at(), fact.correlation_id()));
            }
            "Released" => released += 1,
            _ => {}
        }
    }
    begun.sort();
    let mut told = Vec::new();
    for (name, _, conversation) in begun {
        let inspector = holm.inspector().clone();
        let mut search =
            FlowSearch::new(inspector, holm.shards(), conversation, Window::everything());
        search.run().await;
        let flow = Flow::of(search.finish().gathered.steps);
        // Between two services stand the policies, `holm-policy/NAME/SHARD`, which are left out here.
        let steps = flow.branches.iter().map(|branch| &branch.step);
        let steps = steps.filter(|step| !step.entity.entity_type().starts_with("holm-"));
        let events = steps.flat_map(|step| {
            step.events.iter().map(|event| format!("{} {event}", step.entity.entity_type()))
        });
        told.push((name, events.collect()));
    }
    Ok(told)
}
