//! The delays: a view over all airports. Which of them, and which routes between them, are late.

use holm::bus::{Fact, Interest};
use holm_projections::rusqlite::{Row, Transaction, params};
use holm_projections::{HandlerError, Projection, SqliteView, ViewError};

use super::{Airport, AirportEvent};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS airports (
        code TEXT PRIMARY KEY, departures INTEGER NOT NULL, arrivals INTEGER NOT NULL,
        delay_minutes INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS routes (
        origin TEXT NOT NULL, destination TEXT NOT NULL, flights INTEGER NOT NULL,
        delay_minutes INTEGER NOT NULL, PRIMARY KEY (origin, destination)) STRICT;";

const AIRPORT: &str = "
    INSERT INTO airports VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        departures = departures + excluded.departures, arrivals = arrivals + excluded.arrivals,
        delay_minutes = delay_minutes + excluded.delay_minutes";

const ROUTE: &str = "
    INSERT INTO routes VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET
        flights = flights + 1, delay_minutes = delay_minutes + excluded.delay_minutes";

/// The projection that sums up delays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays;

/// An airport, as [`super::AirportTotals`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirportDelay {
    /// Its code.
    pub code: String,
    /// Flights that left.
    pub departures: u64,
    /// Flights that landed.
    pub arrivals: u64,
    /// Minutes of delay over both; early flights count against late ones.
    pub delay_minutes: i64,
}

/// The flights from one airport to another, each counted once: when it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDelay {
    /// Where they left.
    pub origin: String,
    /// Where they went.
    pub destination: String,
    /// How many.
    pub flights: u64,
    /// Minutes of delay over them.
    pub delay_minutes: i64,
}

impl Projection<SqliteView> for Delays {
    const NAME: &'static str = "flight-delays";

    fn interest(&self) -> Interest {
        Interest::of::<Airport>()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.execute_batch(TABLES)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        let (mut airport, mut route) = (tx.prepare_cached(AIRPORT)?, tx.prepare_cached(ROUTE)?);
        for fact in facts {
            let here = fact.address().id();
            match fact.event::<Airport>()? {
                AirportEvent::Departed { delay, to, .. } => {
                    airport.execute(params![here, 1, 0, delay])?;
                    route.execute(params![here, to, delay])?;
                }
                AirportEvent::Arrived { delay, .. } => {
                    airport.execute(params![here, 0, 1, delay])?;
                }
            }
        }
        Ok(())
    }
}

impl Delays {
    /// All airports, by code.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read.
    pub async fn airports(view: &SqliteView) -> Result<Vec<AirportDelay>, ViewError> {
        let airport = |row: &Row<'_>| {
            Ok(AirportDelay {
                code: row.get(0)?,
                departures: row.get(1)?,
                arrivals: row.get(2)?,
                delay_minutes: row.get(3)?,
            })
        };
        let sql = "SELECT code, departures, arrivals, delay_minutes FROM airports ORDER BY code";
        view.read(move |connection| {
            connection.prepare_cached(sql)?.query_map([], airport)?.collect()
        })
        .await
    }

    /// The routes with the longest delay for each flight, latest first.
    ///
    /// # Errors
    /// [`ViewError`] when the view cannot be read.
    pub async fn latest_routes(
        view: &SqliteView,
        limit: u32,
    ) -> Result<Vec<RouteDelay>, ViewError> {
        let route = |row: &Row<'_>| {
            Ok(RouteDelay {
                origin: row.get(0)?,
                destination: row.get(1)?,
                flights: row.get(2)?,
                delay_minutes: row.get(3)?,
            })
        };
        let sql = "SELECT origin, destination, flights, delay_minutes FROM routes
                   ORDER BY 1.0 * delay_minutes / flights DESC, origin, destination LIMIT ?";
        let read = view.read(move |connection| {
            connection.prepare_cached(sql)?.query_map([limit], route)?.collect()
        });
        read.await
    }
}
