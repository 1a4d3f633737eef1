//! The table, and the same as a JSON document.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::contenders::Contender;
use crate::measure::Measured;
use crate::work::Plan;

/// For people: ratios to the first row of Holm.
pub(crate) fn show(plan: &Plan, rounds: usize, rows: &[(&Contender, Measured)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none()));
    table.set_header(["", "asks/s", "of Holm's", "bytes/idle entity", "what is asked"]);
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let first = rows.first().map_or(0.0, |(_, measured)| measured.asks_per_second);
    for (contender, measured) in rows {
        table.add_row([
            format!("{} {}", contender.name, contender.version),
            thousands(measured.asks_per_second),
            format!("{:.2}", measured.asks_per_second / first.max(1.0)),
            thousands(measured.bytes_per_entity as f64),
            contender.work.to_owned(),
        ]);
    }
    let Plan { entities, in_flight, seconds, idle, .. } = plan;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{table}\n{entities} entities, {in_flight} callers in one process on {cores} cores, no disk, not replicated; median of {rounds} rounds of \
         {seconds} s, contenders by turns. Memory: what the process grew by with {idle} idle entities more, divided by them."
    )
}

/// For programs.
pub(crate) fn document<'a>(plan: &Plan, rows: impl Iterator<Item = (&'a str, Measured)>) -> Value {
    let Plan { entities, in_flight, seconds, idle, .. } = plan;
    let rows: Vec<_> = rows
        .map(|(name, measured)| {
            let Measured { asks_per_second, bytes_per_entity } = measured;
            json!({ "name": name, "asks_per_second": asks_per_second, "bytes_per_entity": bytes_per_entity })
        })
        .collect();
    json!({ "entities": entities, "in_flight": in_flight, "seconds": seconds, "idle": idle, "contenders": rows })
}

/// With a comma behind every third digit.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
