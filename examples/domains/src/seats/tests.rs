//! What a show does, told as given, when, then.

use std::collections::BTreeMap;

use holm_kit::Given;

use super::*;

fn choose(seat: &str, holder: &str) -> Choose {
    Choose { seat: seat.into(), holder: holder.into() }
}

fn release(seat: &str, holder: &str) -> Release {
    Release { seat: seat.into(), holder: holder.into() }
}

fn chosen(seat: &str, holder: &str) -> ShowEvent {
    ShowEvent::SeatChosen { seat: seat.into(), holder: holder.into() }
}

fn place(seat: &str, holder: Option<&str>) -> Place {
    Place { seat: seat.into(), holder: holder.map(str::to_owned) }
}

fn taken(seat: &str, holder: &str) -> ShowRejection {
    ShowRejection::Taken { seat: seat.into(), holder: holder.into() }
}

#[test]
fn a_seat_has_one_holder() {
    let map = [("A1", "ada"), ("A2", "bob")].map(|(seat, holder)| (seat.into(), holder.into()));
    Given::<Show>::nothing()
        .when(choose("A1", "ada"))
        .then_events([chosen("A1", "ada")])
        .then_reply(place("A1", Some("ada")))
        .when(choose("A1", "bob"))
        .then_rejected(taken("A1", "ada"))
        .when(choose("A2", "bob"))
        .then_reply(place("A2", Some("bob")))
        .when(Map {})
        .then_reply(BTreeMap::from(map));
}

#[test]
fn choosing_again_what_one_has_changes_nothing() {
    Given::<Show>::events([chosen("A1", "ada")])
        .when(choose("A1", "ada"))
        .then_no_events()
        .then_reply(place("A1", Some("ada")));
}

#[test]
fn only_the_holder_gives_a_seat_back() {
    Given::<Show>::events([chosen("A1", "ada")])
        .when(release("A1", "bob"))
        .then_rejected(taken("A1", "ada"))
        .when(release("A1", "ada"))
        .then_events([ShowEvent::SeatReleased { seat: "A1".into(), holder: "ada".into() }])
        .then_reply(place("A1", None))
        .then_state(Show::default())
        .when(release("A1", "ada"))
        .then_rejected(ShowRejection::Free { seat: "A1".into() });
}

#[test]
fn malformed_names_are_refused() {
    for (seat, shown) in [("", ""), ("A 1", "A 1"), ("A1A1A1A1A1A1A1A1A", "A1A1A1A1A1A1A1A1")] {
        let no_such = ShowRejection::NoSuchSeat { seat: shown.into() };
        Given::<Show>::nothing().when(choose(seat, "ada")).then_rejected(no_such);
    }
    Given::<Show>::nothing()
        .when(choose("A1", &"x".repeat(MAX_HOLDER_BYTES + 1)))
        .then_rejected(ShowRejection::HolderMalformed { bytes: 65, allowed: 64 });
}

#[test]
fn a_full_show_is_sold_out_and_its_map_still_fits_into_a_reply() {
    let (seat, holder) = (|n| format!("{n:0MAX_SEAT_BYTES$}"), "x".repeat(MAX_HOLDER_BYTES));
    let full: BTreeMap<_, _> = (0..MAX_SEATS).map(|n| (seat(n), holder.clone())).collect();
    Given::<Show>::events(full.keys().map(|seat| chosen(seat, &holder)))
        .when(choose("Z1", "ada"))
        .then_rejected(ShowRejection::SoldOut { seats: MAX_SEATS as u64 })
        .when(Map {})
        .then_reply(full);
}
