//! What an airport does, told as given, when, then, through the API that a service uses.

use holm::{EntityError, EntityRef, Holm};

use super::*;

async fn airport() -> (Holm, EntityRef<Airport>) {
    let holm = Holm::builder().entity::<Airport>().in_memory().shards(1).arbiters(1);
    let holm = holm.start().await.unwrap();
    let airport = holm.entity::<Airport>("LAX");
    (holm, airport)
}

fn depart(delay: i32, distance: u32, to: &str) -> Depart {
    Depart { at: "2001/01/01 00:47".into(), delay, distance, to: to.into() }
}

fn arrive(delay: i32, distance: u32, from: &str) -> Arrive {
    Arrive { at: "2001/01/01 00:47".into(), delay, distance, from: from.into() }
}

#[tokio::test]
async fn delays_and_distances_add_up_over_departures_and_arrivals_alike() {
    let (holm, airport) = airport().await;
    assert_eq!(airport.ask(Totals {}).await, Ok(AirportTotals::default()));
    airport.ask(depart(66, 1_750, "DTW")).await.unwrap();
    airport.ask(arrive(-70, 407, "OAK")).await.unwrap();
    let totals =
        AirportTotals { departures: 1, arrivals: 1, delay_minutes: -4, distance_miles: 2_157 };
    assert_eq!(airport.ask(Totals {}).await, Ok(totals));
    holm.shutdown().await;
}

#[tokio::test]
async fn a_report_that_says_nothing_is_refused() {
    let (holm, airport) = airport().await;
    let same = AirportRejection::SameAirport { airport: "LAX".into() };
    assert_eq!(airport.ask(depart(0, 1, "LAX")).await, Err(EntityError::Rejected(same)));
    let no_code = AirportRejection::OtherAirportMalformed { allowed: 16 };
    assert_eq!(airport.ask(arrive(0, 1, "")).await, Err(EntityError::Rejected(no_code)));
    let timeless = Depart { at: String::new(), ..depart(0, 1, "OAK") };
    let no_time = AirportRejection::TimeMalformed { allowed: 40 };
    assert_eq!(airport.ask(timeless).await, Err(EntityError::Rejected(no_time)));
    assert_eq!(airport.ask(Totals {}).await, Ok(AirportTotals::default()));
    holm.shutdown().await;
}
