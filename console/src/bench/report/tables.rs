//! The tables of one run. Each carries in its caption how durable, how many replicas, which machine.

use super::escaped;
use crate::bench::caption;
use crate::bench::document::{BenchDocument, StepFigures};
use crate::bench::processes::ProcessUse;
use crate::bench::show::{columns, rate};
use crate::dev::screen::grouped;

/// One run with all its tables.
pub(super) fn section(name: &str, run: &BenchDocument) -> String {
    let mut text = format!("<section>\n<h2>{}</h2>\n", escaped(name));
    text.push_str(&format!("<p>{}</p>\n", escaped(&what(run))));
    if run.environment.debug_build {
        text.push_str(
            "<p class=\"bad\">Built without optimisation: the figures mean nothing.</p>\n",
        );
    }
    if !run.steps.is_empty() {
        text.push_str(&steps(run));
        text.push_str(&processes(run));
    }
    for idle in &run.idle {
        let title = format!(
            "Idle for {} s with {} shards, {} replicas of each",
            idle.seconds, idle.shards, idle.replication
        );
        let rows = idle.nodes.iter().map(|node| use_row(None, node)).collect();
        let titles = ["node", "of a core", "memory", "written"];
        text.push_str(&table(run, &title, &titles, rows));
    }
    text.push_str(&one_entity(run));
    for step in run.steps.iter().filter(|step| step.errors > 0) {
        text.push_str(&format!(
            "<p class=\"bad\">{}: {} errors, the first: {}</p>\n",
            escaped(&step.name),
            grouped(step.errors),
            escaped(step.first_error.as_deref().unwrap_or_default())
        ));
    }
    text.push_str("</section>\n");
    text
}

fn what(run: &BenchDocument) -> String {
    format!(
        "{} nodes, {} shards, {} entities, {} in flight in the closed loop, each step {} s; holm {}",
        run.nodes,
        run.shards,
        grouped(run.entities.into()),
        grouped(run.in_flight.into()),
        run.seconds,
        run.environment.version
    )
}

fn steps(run: &BenchDocument) -> String {
    let titles = [
        "step",
        "rate",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "errors",
        "late",
        "stored",
        "replicas",
        "fsyncs",
        "bytes/event",
        "stolen",
    ];
    let rows = run.steps.iter().map(|step| step_row(run, step)).collect();
    table(run, "Steps", &titles, rows)
}

fn step_row(run: &BenchDocument, step: &StepFigures) -> Vec<String> {
    let share = |share: Option<f64>| maybe(share.map(|share| format!("{:.1} %", share * 100.0)));
    let mut row = vec![step.name.clone()];
    row.extend(columns(step));
    row.extend([
        share(step.late),
        if step.persists { "synced" } else { "nothing" }.to_owned(),
        step.replicas.unwrap_or(run.replication).to_string(),
        maybe(step.fsyncs.map(grouped)),
        maybe(step.bytes_per_event.map(rate)),
        share(step.stolen),
    ]);
    row
}

fn processes(run: &BenchDocument) -> String {
    let rows: Vec<_> = run
        .steps
        .iter()
        .flat_map(|step| step.processes.iter().map(|used| use_row(Some(&step.name), used)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["step", "process", "of a core", "memory", "written"];
    table(run, "What each process took", &titles, rows)
}

fn use_row(step: Option<&str>, used: &ProcessUse) -> Vec<String> {
    let figures = [
        used.name.clone(),
        format!("{:.1} %", used.cores * 100.0),
        format!("{} MiB", grouped(used.resident_kib / 1_024)),
        format!("{} MiB", grouped(used.written_bytes / (1_024 * 1_024))),
    ];
    step.map(str::to_owned).into_iter().chain(figures).collect()
}

fn one_entity(run: &BenchDocument) -> String {
    let Some(one) = &run.one_entity else { return String::new() };
    let rows = vec![vec![
        format!("{}/s", rate(one.rate)),
        one.in_flight.to_string(),
        format!("{}/s", rate(one.disk_fsyncs)),
        format!("{:.1}", one.ratio),
        format!("{}/s", rate(one.disk_appends)),
        format!("{:.1}", one.ratio_to_appends),
    ]];
    let titles =
        ["one entity", "in flight", "disk, in place", "times that", "disk, appended", "times that"];
    table(run, "One entity alone, and one fdatasync for each write of the same disk", &titles, rows)
}

fn maybe(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn table(run: &BenchDocument, title: &str, titles: &[&str], rows: Vec<Vec<String>>) -> String {
    let said: String = caption::lines(run)
        .iter()
        .map(|(word, text)| format!("<br><b>{word}</b> {}", escaped(text)))
        .collect();
    let head: String = titles.iter().map(|title| format!("<th>{}</th>", escaped(title))).collect();
    let row = |row: Vec<String>| {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.into_iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table>\n<caption>{}{said}</caption>\n<tr>{head}</tr>\n{rows}</table></div>\n",
        escaped(title)
    )
}
