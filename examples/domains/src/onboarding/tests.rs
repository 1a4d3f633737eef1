//! The same applicants through both flows, on a node: each ends in the same way.

use std::time::Duration;

use holm::bus::{Fact, Interest, Start as From};
use holm::{EntityError, Holm, Policy};

use super::*;

/// How long the office has, and so how long the test waits for the one that it forgets.
const SOON: Duration = Duration::from_millis(1_500);

async fn start(policies: impl IntoIterator<Item = Policy>) -> Holm {
    let builder = services(Holm::builder()).entity::<Onboarding>().policies(policies);
    builder.in_memory().shards(4).start().await.unwrap()
}

async fn apply(holm: &Holm, name: &str, credit: u64, street: &str) {
    let application = Application { name: name.into(), credit, street: street.into() };
    holm.entity::<Customer>(name).ask(Apply { application }).await.unwrap();
}

/// What the office says, as soon as it is asked.
async fn office(holm: &Holm, name: &str, clean: bool) {
    let record = holm.entity::<RecordCheck>(name);
    while let Err(EntityError::Rejected(_)) = record.ask(EnterRecord { clean }).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn decided(holm: &Holm, name: &str) -> Customer {
    loop {
        let customer = holm.entity::<Customer>(name).ask(CustomerStatus {}).await.unwrap();
        if customer.standing != Standing::Applied {
            return customer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The next facts of this applicant's entity of type `E` until the one of this name.
async fn until<E: holm::Entity>(holm: &Holm, name: &str, event: &str) -> Fact {
    let interest = Interest::of::<E>().id_prefix(name);
    let mut facts = holm.bus().subscribe(interest, From::Beginning).await.unwrap();
    loop {
        let fact = facts.next().await.unwrap();
        if fact.name() == event {
            return fact;
        }
    }
}

async fn everybody(holm: &Holm, late: &str) {
    apply(holm, "ada", 500, "1 Holm Street").await;
    apply(holm, "bob", 500, "2 Holm Street").await;
    apply(holm, "cy", HIGHEST_CREDIT + 1, "3 Holm Street").await;
    apply(holm, "dot", 500, "").await;
    apply(holm, "eve", 500, "5 Holm Street").await;
    office(holm, "ada", true).await;
    office(holm, "bob", false).await;
    assert_eq!(decided(holm, "ada").await.standing, Standing::Admitted);
    for (name, reason) in [
        ("bob", "there is a criminal record"),
        ("cy", "nobody gets that much credit"),
        ("dot", "no street was named"),
        ("eve", late),
    ] {
        let customer = decided(holm, name).await;
        assert_eq!((customer.standing, &*customer.reason), (Standing::TurnedDown, reason));
    }
    // The way back goes from the newest step to the oldest.
    for name in ["bob", "eve"] {
        let forgotten = until::<AddressCheck>(holm, name, "Forgotten").await;
        let released = until::<CreditCheck>(holm, name, "Released").await;
        assert!(forgotten.at() <= released.at(), "{name}");
        assert_eq!(forgotten.correlation_id(), released.correlation_id());
    }
    until::<CreditCheck>(holm, "dot", "Released").await;
}

#[tokio::test]
async fn a_process_manager_brings_everybody_through() {
    let holm = start(orchestration(SOON)).await;
    let mut decisions = DECIDED.on(&holm.bus()).subscribe(From::Now).await.unwrap();
    everybody(&holm, "it took too long").await;
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        let fact = decisions.next().await.unwrap();
        let Decided { customer, outcome } = DECIDED.on(&holm.bus()).read(&fact).unwrap();
        outcomes.push((customer, outcome));
    }
    outcomes.sort_by(|one, other| one.0.cmp(&other.0));
    let outcomes: Vec<_> = outcomes.iter().map(|(_, outcome)| *outcome).collect();
    let rejected = Outcome::Rejected;
    assert_eq!(outcomes, [Outcome::Approved, rejected, rejected, rejected, Outcome::TimedOut]);
    holm.shutdown().await;
}

#[tokio::test]
async fn policies_alone_bring_everybody_through() {
    let holm = start(choreography(SOON)).await;
    everybody(&holm, "the office did not answer").await;
    let nobody = holm.entity::<Onboarding>("ada").ask(OnboardingStatus {}).await;
    assert!(matches!(nobody, Err(EntityError::Rejected(OnboardingRejection::NotStarted {}))));
    holm.shutdown().await;
}
