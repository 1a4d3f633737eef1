//! What a show does, told as given, when, then, through the API that a service uses.

use std::collections::BTreeMap;

use holm::{Entity, EntityError, EntityRef, Holm};

use super::*;

async fn show() -> (Holm, EntityRef<Show>) {
    let holm = Holm::builder().entity::<Show>().in_memory().shards(1).arbiters(1);
    let holm = holm.start().await.unwrap();
    let show = holm.entity::<Show>("hamlet");
    (holm, show)
}

fn choose(seat: &str, holder: &str) -> Choose {
    Choose { seat: seat.into(), holder: holder.into() }
}

fn release(seat: &str, holder: &str) -> Release {
    Release { seat: seat.into(), holder: holder.into() }
}

fn place(seat: &str, holder: Option<&str>) -> Place {
    Place { seat: seat.into(), holder: holder.map(str::to_owned) }
}

#[test]
fn the_state_is_what_the_events_say() {
    let mut show = Show::default();
    let (seat, holder) = ("A1".to_owned(), "ada".to_owned());
    show.apply(&ShowEvent::SeatChosen { seat: seat.clone(), holder: holder.clone() });
    assert_eq!(show.seats.get("A1"), Some(&holder));
    show.apply(&ShowEvent::SeatReleased { seat, holder });
    assert_eq!(show, Show::default());
}

#[tokio::test]
async fn a_seat_has_one_holder() {
    let (holm, show) = show().await;
    assert_eq!(show.ask(choose("A1", "ada")).await, Ok(place("A1", Some("ada"))));
    let taken = ShowRejection::Taken { seat: "A1".into(), holder: "ada".into() };
    assert_eq!(show.ask(choose("A1", "bob")).await, Err(EntityError::Rejected(taken)));
    assert_eq!(show.ask(choose("A2", "bob")).await, Ok(place("A2", Some("bob"))));
    let map = [("A1", "ada"), ("A2", "bob")].map(|(seat, holder)| (seat.into(), holder.into()));
    assert_eq!(show.ask(Map {}).await, Ok(BTreeMap::from(map)));
    holm.shutdown().await;
}

#[tokio::test]
async fn choosing_again_what_one_has_changes_nothing() {
    let (holm, show) = show().await;
    show.ask(choose("A1", "ada")).await.unwrap();
    let again = show.ask_with(choose("A1", "ada"), holm::AskOptions::default()).await.unwrap();
    assert_eq!((again.value, again.sequence.get()), (place("A1", Some("ada")), 1));
    holm.shutdown().await;
}

#[tokio::test]
async fn only_the_holder_gives_a_seat_back() {
    let (holm, show) = show().await;
    show.ask(choose("A1", "ada")).await.unwrap();
    let taken = ShowRejection::Taken { seat: "A1".into(), holder: "ada".into() };
    assert_eq!(show.ask(release("A1", "bob")).await, Err(EntityError::Rejected(taken)));
    assert_eq!(show.ask(release("A1", "ada")).await, Ok(place("A1", None)));
    let free = ShowRejection::Free { seat: "A1".into() };
    assert_eq!(show.ask(release("A1", "ada")).await, Err(EntityError::Rejected(free)));
    holm.shutdown().await;
}

#[tokio::test]
async fn malformed_names_are_refused() {
    let (holm, show) = show().await;
    for seat in ["", "A 1", "A1A1A1A1A1A1A1A1A"] {
        let answer = show.ask(choose(seat, "ada")).await;
        assert!(
            matches!(answer, Err(EntityError::Rejected(ShowRejection::NoSuchSeat { .. }))),
            "{seat}: {answer:?}"
        );
    }
    let answer = show.ask(choose("A1", &"x".repeat(MAX_HOLDER_BYTES + 1))).await;
    assert!(matches!(
        answer,
        Err(EntityError::Rejected(ShowRejection::HolderMalformed { bytes: 65, allowed: 64 }))
    ));
    holm.shutdown().await;
}

#[tokio::test]
async fn a_full_show_is_sold_out_and_its_map_still_fits_into_a_reply() {
    let (holm, show) = show().await;
    let holder = "x".repeat(MAX_HOLDER_BYTES);
    for seat in 0..MAX_SEATS {
        show.ask(choose(&format!("{seat:0MAX_SEAT_BYTES$}"), &holder)).await.unwrap();
    }
    let sold_out = ShowRejection::SoldOut { seats: MAX_SEATS as u64 };
    assert_eq!(show.ask(choose("Z1", "ada")).await, Err(EntityError::Rejected(sold_out)));
    assert_eq!(show.ask(Map {}).await.map(|map| map.len()), Ok(MAX_SEATS));
    holm.shutdown().await;
}
