//! What an airport does, told as given, when, then.

use holm_kit::Given;

use super::*;

fn airport() -> Given<Airport> {
    Given::nothing().id("LAX")
}

fn depart(delay: i32, distance: u32, to: &str) -> Depart {
    Depart { at: "2001/01/01 00:47".into(), delay, distance, to: to.into() }
}

fn arrive(delay: i32, distance: u32, from: &str) -> Arrive {
    Arrive { at: "2001/01/01 00:47".into(), delay, distance, from: from.into() }
}

#[test]
fn delays_and_distances_add_up_over_departures_and_arrivals_alike() {
    let both =
        AirportTotals { departures: 1, arrivals: 1, delay_minutes: -4, distance_miles: 2_157 };
    airport()
        .when(Totals {})
        .then_reply(AirportTotals::default())
        .when(depart(66, 1_750, "DTW"))
        .when(arrive(-70, 407, "OAK"))
        .then_reply(both)
        .when(Totals {})
        .then_reply(both);
}

#[test]
fn a_report_that_says_nothing_is_refused() {
    airport()
        .when(depart(0, 1, "LAX"))
        .then_rejected(AirportRejection::SameAirport { airport: "LAX".into() })
        .when(arrive(0, 1, ""))
        .then_rejected(AirportRejection::OtherAirportMalformed { allowed: 16 })
        .when(Depart { at: String::new(), ..depart(0, 1, "OAK") })
        .then_rejected(AirportRejection::TimeMalformed { allowed: 40 })
        .then_state(Airport::default());
}
