//! The door of the fuzz target to imported files. See [`crate::fuzzing`].

use super::flights;
use super::line::Lines;

/// A file: the first byte says whether it holds commands line by line, or flights.
pub fn import(data: &[u8]) {
    let Some((&kind, file)) = data.split_first() else { return };
    if kind & 1 == 1 {
        if let Ok(orders) = flights::read(file) {
            assert_eq!(orders.len() % 2, 0, "a flight is two commands");
        }
        return;
    }
    let lines = file.split(|byte| *byte == b'\n').count() as u64;
    let mut last = 0;
    for order in Lines::of(file) {
        let line = order.as_ref().map_or_else(|bad| bad.line, |order| order.line);
        assert!(last < line && line <= lines, "a line is told once and in order");
        last = line;
        if let Ok(order) = order {
            let again = serde_json::to_vec(&order.command).expect("what was read can be written");
            let again = Lines::of(&again[..]).next().expect("one line").expect("a good one");
            assert_eq!(again.command, order.command);
        }
    }
}

/// Seeds of [`import`].
#[must_use]
pub fn import_seeds() -> Vec<Vec<u8>> {
    let command = r#"{"type":"account","id":"a","command":"open","body":{"owner":"x"},"key":"k"}"#;
    let lines = format!("{command}\n\n{{\n{command}\n");
    let flight = r#"[{"date":"2001/01/01 00:47","delay":66,"distance":1750,"origin":"DTW","destination":"LAS"}]"#;
    vec![
        [&[0], command.as_bytes()].concat(),
        [&[0], lines.as_bytes()].concat(),
        [&[1], flight.as_bytes()].concat(),
    ]
}
