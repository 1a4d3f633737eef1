//! The airport: its totals, how events change them, and what it decides.

use holm::{Commands, Context, Effect, Entity, Handle, Read};
use serde::{Deserialize, Serialize};

use super::{AirportEvent, AirportRejection, AirportTotals, Arrive, Depart, Totals};

/// Longest code of an airport that is taken; IATA codes have 3 letters, ICAO codes 4.
const MAX_CODE_BYTES: usize = 16;

/// Longest time that is taken; the data has 16 characters, RFC 3339 with nanoseconds 35.
const MAX_TIME_BYTES: usize = 40;

/// An airport. Which one it is says its id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Airport {
    /// Everything that was reported so far.
    pub totals: AirportTotals,
}

impl Entity for Airport {
    const TYPE: &'static str = "airport";
    type Event = AirportEvent;
    type Rejection = AirportRejection;

    fn apply(&mut self, event: &AirportEvent) {
        let (delay, distance) = match event {
            AirportEvent::Departed { delay, distance, .. } => {
                self.totals.departures += 1;
                (*delay, *distance)
            }
            AirportEvent::Arrived { delay, distance, .. } => {
                self.totals.arrivals += 1;
                (*delay, *distance)
            }
        };
        // 64 bits hold the sum of 2^32 of the largest figures, which no airport sees.
        self.totals.delay_minutes += i64::from(delay);
        self.totals.distance_miles += u64::from(distance);
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Depart>().handle::<Arrive>().read::<Totals>();
    }
}

impl Handle<Depart> for Airport {
    fn handle(
        &self,
        Depart { at, delay, distance, to }: Depart,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, AirportTotals>, AirportRejection> {
        check_report(cx.entity_id(), &to, &at)?;
        let departed = AirportEvent::Departed { at, delay, distance, to };
        Ok(cx.persist(departed).reply(|airport| airport.totals))
    }
}

impl Handle<Arrive> for Airport {
    fn handle(
        &self,
        Arrive { at, delay, distance, from }: Arrive,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, AirportTotals>, AirportRejection> {
        check_report(cx.entity_id(), &from, &at)?;
        let arrived = AirportEvent::Arrived { at, delay, distance, from };
        Ok(cx.persist(arrived).reply(|airport| airport.totals))
    }
}

impl Read<Totals> for Airport {
    fn read(
        &self,
        Totals {}: Totals,
        _: &Context<'_, Self>,
    ) -> Result<AirportTotals, AirportRejection> {
        Ok(self.totals)
    }
}

fn check_report(here: &str, other: &str, at: &str) -> Result<(), AirportRejection> {
    if other.is_empty() || other.len() > MAX_CODE_BYTES {
        return Err(AirportRejection::OtherAirportMalformed { allowed: MAX_CODE_BYTES as u64 });
    }
    if at.is_empty() || at.len() > MAX_TIME_BYTES {
        return Err(AirportRejection::TimeMalformed { allowed: MAX_TIME_BYTES as u64 });
    }
    if other == here {
        return Err(AirportRejection::SameAirport { airport: here.to_owned() });
    }
    Ok(())
}
