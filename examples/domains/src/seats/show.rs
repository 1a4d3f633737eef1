//! The show: its seats, how events change them, and what it decides.

use std::collections::BTreeMap;

use holm::{Commands, Context, Effect, Entity, Handle, Read};
use serde::{Deserialize, Serialize};

use super::{Choose, Map, Place, Release, ShowEvent, ShowRejection};

/// Longest name of a seat.
pub const MAX_SEAT_BYTES: usize = 16;

/// Longest name of a holder.
pub const MAX_HOLDER_BYTES: usize = 64;

/// Most seats of one show: what `map` replies must fit into one reply (512 x 80 bytes and their lengths are 41 KiB of 64).
pub const MAX_SEATS: usize = 512;

/// A show. A seat that is not in the map is free.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// Who has which seat; ordered, so that equal maps are equal bytes.
    pub seats: BTreeMap<String, String>,
}

impl Entity for Show {
    const TYPE: &'static str = "show";
    type Event = ShowEvent;
    type Rejection = ShowRejection;

    fn apply(&mut self, event: &ShowEvent) {
        match event {
            ShowEvent::SeatChosen { seat, holder } => {
                self.seats.insert(seat.clone(), holder.clone());
            }
            ShowEvent::SeatReleased { seat, .. } => {
                self.seats.remove(seat);
            }
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Choose>().handle::<Release>().read::<Map>();
    }
}

impl Handle<Choose> for Show {
    fn handle(
        &self,
        Choose { seat, holder }: Choose,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, Place>, ShowRejection> {
        check_seat(&seat)?;
        check_holder(&holder)?;
        match self.seats.get(&seat) {
            Some(taken_by) if *taken_by == holder => Ok(cx.none().reply(place_of(seat))),
            Some(taken_by) => Err(ShowRejection::Taken { seat, holder: taken_by.clone() }),
            None if self.seats.len() >= MAX_SEATS => {
                Err(ShowRejection::SoldOut { seats: MAX_SEATS as u64 })
            }
            None => Ok(cx
                .persist(ShowEvent::SeatChosen { seat: seat.clone(), holder })
                .reply(place_of(seat))),
        }
    }
}

impl Handle<Release> for Show {
    fn handle(
        &self,
        Release { seat, holder }: Release,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, Place>, ShowRejection> {
        check_seat(&seat)?;
        match self.seats.get(&seat) {
            None => Err(ShowRejection::Free { seat }),
            Some(taken_by) if *taken_by != holder => {
                Err(ShowRejection::Taken { seat, holder: taken_by.clone() })
            }
            Some(_) => Ok(cx
                .persist(ShowEvent::SeatReleased { seat: seat.clone(), holder })
                .reply(place_of(seat))),
        }
    }
}

impl Read<Map> for Show {
    fn read(
        &self,
        Map {}: Map,
        _: &Context<'_, Self>,
    ) -> Result<BTreeMap<String, String>, ShowRejection> {
        Ok(self.seats.clone())
    }
}

/// Reads one seat from the state after the events.
fn place_of(seat: String) -> impl FnOnce(&Show) -> Place {
    move |show| Place { holder: show.seats.get(&seat).cloned(), seat }
}

fn check_seat(seat: &str) -> Result<(), ShowRejection> {
    let well_formed = !seat.is_empty()
        && seat.len() <= MAX_SEAT_BYTES
        && seat.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if well_formed { Ok(()) } else { Err(ShowRejection::NoSuchSeat { seat: shortened(seat) }) }
}

fn check_holder(holder: &str) -> Result<(), ShowRejection> {
    if holder.trim().is_empty() || holder.len() > MAX_HOLDER_BYTES {
        let (bytes, allowed) = (holder.len() as u64, MAX_HOLDER_BYTES as u64);
        return Err(ShowRejection::HolderMalformed { bytes, allowed });
    }
    Ok(())
}

/// A rejection is recorded and kept, so it repeats no text of any length.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_SEAT_BYTES).collect()
}
