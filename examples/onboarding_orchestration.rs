//! Customers come in by three checks, steered by a process manager: who fails one, or waits too long, finds everything undone, the newest first.
//!
//! The services (`examples/domains/src/onboarding`) know neither each other nor the process. Beside it: `onboarding_choreography`, and `docs/processes.md`.

use std::time::Duration;

use holm::bus::{Fact, Interest, Start, Subscription};
use holm::{EntityError, Holm};
use holm_domains::onboarding::{
    Application, Apply, Customer, DECIDED, EnterRecord, HIGHEST_CREDIT, Onboarding,
    OnboardingEvent, RecordCheck, orchestration, services,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An onboarding may take a second here; the office that keeps criminal records may be slower.
    let builder = services(Holm::builder()).entity::<Onboarding>();
    let builder = builder.policies(orchestration(Duration::from_secs(1)));
    let holm = builder.in_memory().start().await?;
    let mut steps = holm.bus().subscribe(Interest::of::<Onboarding>(), Start::Now).await?;
    let decided = DECIDED.on(&holm.bus());
    let mut decisions = decided.subscribe(Start::Now).await?;

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
        println!("{name}: {}", until_it_ends(&mut steps).await?.join(", "));
    }
    for _ in 0..4 {
        let decision = decided.read(&decisions.next().await?)?;
        println!("published: {} {:?}", decision.customer, decision.outcome);
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

/// What happens to one onboarding.
async fn until_it_ends(steps: &mut Subscription) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    loop {
        let event = steps.next().await?;
        let (said, is_last) = say(&event)?;
        told.push(said);
        if is_last {
            return Ok(told);
        }
    }
}

fn say(fact: &Fact) -> anyhow::Result<(String, bool)> {
    let event = fact.event::<Onboarding>()?;
    let said = match &event {
        OnboardingEvent::Started { .. } => "started".to_owned(),
        OnboardingEvent::Done { step } => format!("{step:?} done").to_lowercase(),
        OnboardingEvent::DeadlinePassed {} => "overdue".to_owned(),
        OnboardingEvent::TurnedBack { reason, .. } => format!("turned back: {reason}"),
        OnboardingEvent::Undone { step } => format!("{step:?} undone").to_lowercase(),
        OnboardingEvent::Ended { outcome } => format!("{outcome:?}"),
        OnboardingEvent::Stuck { step, reason } => format!("stuck at {step:?}: {reason}"),
    };
    Ok((said, matches!(event, OnboardingEvent::Ended { .. } | OnboardingEvent::Stuck { .. })))
}
