//! Flights as they are published, as commands: each one departs at its origin and arrives at its destination.

use std::io::Read;

use serde::Deserialize;
use serde_json::json;

use super::line::{CommandLine, Order};

/// One flight as the file has it; what else stands there is passed over.
#[derive(Debug, Deserialize)]
struct Flight {
    /// Local time of departure, as in `2001/01/01 00:47`.
    date: String,
    /// Minutes; negative when early.
    delay: i32,
    /// Miles.
    distance: u32,
    origin: String,
    destination: String,
}

/// Two commands for each flight. Their keys follow from the place of the flight in the file, so the same file always gives the same keys.
pub(super) fn read(file: impl Read) -> Result<Vec<Order>, serde_json::Error> {
    let flights: Vec<Flight> = serde_json::from_reader(file)?;
    let orders = flights.into_iter().enumerate().flat_map(|(place, flight)| {
        // A pretty-printed file has no line for each flight, so the number is the place in the array.
        let (line, number) = (place as u64 + 1, place + 1);
        commands(flight, number).map(|command| Order { line, command })
    });
    Ok(orders.collect())
}

fn commands(flight: Flight, number: usize) -> [CommandLine; 2] {
    let Flight { date, delay, distance, origin, destination } = flight;
    let command = |id: &str, command: &str, body| CommandLine {
        entity_type: "airport".to_owned(),
        id: id.to_owned(),
        command: command.to_owned(),
        body,
        key: Some(format!("flight-{number:05}-{command}")),
    };
    [
        command(
            &origin,
            "depart",
            json!({ "at": date, "delay": delay, "distance": distance, "to": destination }),
        ),
        command(
            &destination,
            "arrive",
            json!({ "at": date, "delay": delay, "distance": distance, "from": origin }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_departs_and_arrives() {
        let file = r#"[{"date":"2001/01/01 00:47","delay":66,"distance":1750,"origin":"DTW","destination":"LAS"}]"#;
        let orders = read(file.as_bytes()).unwrap();
        let lines: Vec<_> =
            orders.iter().map(|order| serde_json::to_string(&order.command).unwrap()).collect();
        assert_eq!(
            lines,
            [
                r#"{"type":"airport","id":"DTW","command":"depart","body":{"at":"2001/01/01 00:47","delay":66,"distance":1750,"to":"LAS"},"key":"flight-00001-depart"}"#,
                r#"{"type":"airport","id":"LAS","command":"arrive","body":{"at":"2001/01/01 00:47","delay":66,"distance":1750,"from":"DTW"},"key":"flight-00001-arrive"}"#,
            ]
        );
    }
}
