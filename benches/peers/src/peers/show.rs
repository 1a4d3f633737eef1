//! The tables of remote and of persistent asks, and the same as JSON documents.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{Peer, Peers};
use crate::table::thousands;
use crate::work::Plan;

impl Peers {
    /// For people: a pair of columns for each number of asks in flight, the figure and its ratio to that of the first row. One ask alone is told by how long it
    /// takes.
    pub(super) fn show(&self, plan: &Plan, rounds: usize, rows: &[(&Peer, Vec<f64>)]) -> String {
        let mut table = Table::new();
        let style = presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none());
        table.load_style(style);
        let heads = self.in_flight.iter().flat_map(|in_flight| match in_flight {
            1 => ["one alone, µs".to_owned(), "of Holm's".to_owned()],
            _ => [format!("asks/s, {} at once", thousands(*in_flight as f64)), "of Holm's".into()],
        });
        let heads = std::iter::once(String::new()).chain(heads);
        table.set_header(heads.chain(["what is asked, what its answer means".to_owned()]));
        for column in 1..=2 * self.in_flight.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let first = rows.first().map(|(_, rates)| rates.clone()).unwrap_or_default();
        for (peer, rates) in rows {
            let cells = self.in_flight.iter().zip(rates).zip(&first);
            let cells = cells.flat_map(|((in_flight, rate), first)| match in_flight {
                1 => [thousands(micros(*rate)), format!("{:.2}", micros(*rate) / micros(*first))],
                _ => [thousands(*rate), format!("{:.2}", rate / first.max(1.0))],
            });
            let name = format!("{} {}", peer.name, peer.version);
            table.add_row(std::iter::once(name).chain(cells).chain([peer.work.to_owned()]));
        }
        let Plan { entities, seconds, .. } = plan;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        format!(
            "{table}\n{entities} entities, {cores} cores; median of {rounds} rounds of {seconds} s, contenders by turns. {}",
            self.foot
        )
    }

    /// For programs.
    pub(super) fn document(&self, plan: &Plan, rows: &[(&Peer, Vec<f64>)]) -> Value {
        let rows: Vec<_> = rows
            .iter()
            .map(|(peer, rates)| {
                let rates = self.in_flight.iter().zip(rates);
                let rates = rates.map(|(in_flight, rate)| {
                    json!({ "in_flight": in_flight, "asks_per_second": rate })
                });
                let rates: Vec<_> = rates.collect();
                json!({ "name": peer.name, "version": peer.version, "work": peer.work, "rates": rates })
            })
            .collect();
        let Plan { entities, seconds, .. } = plan;
        json!({ "entities": entities, "seconds": seconds, "contenders": rows })
    }
}

/// Of one ask in the mean, when there is one at a time.
fn micros(rate: f64) -> f64 {
    1e6 / rate.max(f64::EPSILON)
}
