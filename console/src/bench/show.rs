//! The figures as a person reads them: one line a step, then the table, the histogram, and what they mean.

use std::cmp::Ordering;
use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::document::{BenchDocument, StepFigures};
use super::idle::IdleCluster;
use super::processes::ProcessUse;
use super::sleepers::Sleepers;
use super::{caption, chart};
use crate::dev::screen::grouped;
use crate::output::{Mark, Output};

/// Above this share of late sends the generator, not the cluster, is measured.
const LATE_SHARE: f64 = 0.01;

/// Above this share of stolen time the latencies of a step describe the host more than Holm.
const STOLEN_SHARE: f64 = 0.02;

/// What one entity must reach against one fsync per command.
const RATIO_GOAL: f64 = 10.0;

pub(super) fn header(document: &BenchDocument) -> String {
    let machine = &document.environment;
    let warning = if machine.debug_build {
        "\n             built without optimisation: the figures mean nothing; use --release"
    } else {
        ""
    };
    let work = match document.entities {
        0 => "nobody asks anything".to_owned(),
        entities => format!("{} accounts   fsync on", grouped(entities.into())),
    };
    format!(
        "holm bench   {}   {work}   {}\n             each step: {} s measured{warning}\n",
        match document.nodes {
            1 => "1 node in this process".to_owned(),
            nodes => format!("{nodes} processes, {} replicas", document.replication),
        },
        caption::hardware(machine),
        document.seconds,
    )
}

pub(super) fn step_line(label: &str, figures: &StepFigures) -> String {
    let fsyncs = figures.fsyncs.map(|n| format!("   {} fsyncs", grouped(n))).unwrap_or_default();
    let stolen = figures.stolen.filter(|&share| share > STOLEN_SHARE);
    let stolen =
        stolen.map(|share| format!("   {:.0} % stolen", share * 100.0)).unwrap_or_default();
    format!(
        "  {label:<22} {:>12}/s   p99 {:>9}{fsyncs}{stolen}",
        rate(figures.rate),
        ms(figures.p99_ms)
    )
}

pub(super) fn sleepers_line(measured: &Sleepers) -> String {
    let Sleepers { subscribers, turns, p50_ms, p99_ms, grown_kib, .. } = measured;
    let change = |ratio: f64| 100.0 * (ratio - 1.0);
    let ratio = measured.ratio.map_or_else(
        || "no ratio: nothing was answered in some turns".to_owned(),
        |ratio| format!("p99 {:+.1} %", change(ratio)),
    );
    let between = measured.between.map_or_else(String::new, |(low, high)| {
        format!(
            " ({:+.1} to {:+.1} % in nine of ten draws of the turns)",
            change(low),
            change(high)
        )
    });
    let typical = measured.typical.zip(measured.typical_between);
    let typical = typical.map_or_else(String::new, |(ratio, (low, high))| {
        let (low, high) = (change(low), change(high));
        format!(
            "\n    the middle one of the rounds: {:+.1} % ({low:+.1} to {high:+.1} %)",
            change(ratio)
        )
    });
    let more = measured.more_kib_between.map_or_else(String::new, |(low, high)| {
        format!(": {low:+.0} to {high:+.0} KiB more in a turn, in nine of ten draws")
    });
    let errors = match (measured.errors, &measured.first_error) {
        (0, _) => String::new(),
        (errors, first) => {
            let first = first.as_deref().unwrap_or_default();
            format!("\n    {} without an answer; the first: {first}", grouped(errors))
        }
    };
    let late = match measured.late {
        late if late > LATE_SHARE => {
            format!(
                "\n    {:.0} % of a turn were sent late: the generator was measured too",
                100.0 * late
            )
        }
        _ => String::new(),
    };
    format!(
        "  {subscribers} subscribers that sleep, {turns} turns of each kind at {}/s\n    without: p50 {}, p99 {}   with: p50 {}, p99 {}   {ratio}{between}{typical}\n    memory grew by {} KiB in the turns before they came, by {} KiB in those in which they had slept for a turn{more}{errors}{late}",
        grouped(measured.rate.into()),
        ms(p50_ms.0),
        ms(p99_ms.0),
        ms(p50_ms.1),
        ms(p99_ms.1),
        grown_kib.0,
        grown_kib.1
    )
}

pub(super) fn document(document: &BenchDocument, saved: &Path, output: Output) {
    output.line("");
    if document.steps.is_empty() {
        document.idle.iter().flat_map(idle_lines).for_each(|line| output.line(line));
    } else {
        output.line(table(document, output.is_ascii()));
    }
    for (word, text) in caption::lines(document) {
        output.line(format_args!("  {word:<9} {text}"));
    }
    distribution(document, output);
    one_entity(document, output);
    costs(document, output);
    for step in document.steps.iter().filter(|step| step.errors > 0) {
        output.line(format_args!(
            "  {} {}: {} errors, the first: {}",
            output.mark(Mark::Bad),
            step.name,
            step.errors,
            step.first_error.as_deref().unwrap_or_default()
        ));
    }
    output.line(format_args!(
        "\n  Saved   {0}      Gate   --fail-if 'p99>10ms'\n  Again   holm bench --compare {0}\n  Page    holm bench --report bench.html --from {0}",
        saved.display()
    ));
}

/// How the latencies at the fixed rate are spread, and what disturbed them.
fn distribution(document: &BenchDocument, output: Output) {
    if let Some(fixed) = document.steps.iter().find(|step| step.planned_rate.is_some()) {
        output.line(format_args!(
            "\n  command+persist at {}/s, latency from the planned send time\n",
            grouped(fixed.planned_rate.unwrap_or_default().into())
        ));
        chart::lines(&fixed.buckets, output.is_ascii()).iter().for_each(|line| output.line(line));
        if fixed.late.is_some_and(|late| late > LATE_SHARE) {
            output.line(format_args!(
                "\n  {} the load generator, not the cluster, is the limit: {:.1} % of the sends were late",
                output.mark(Mark::Warning),
                fixed.late.unwrap_or_default() * 100.0
            ));
        }
    }
    if let Some(step) = most_stolen(document) {
        output.line(format_args!(
            "\n  {} the host of this virtual machine took {:.0} % of its processor time during {:?}: such latencies are the host's too",
            output.mark(Mark::Warning),
            step.stolen.unwrap_or_default() * 100.0,
            step.name
        ));
    }
}

fn one_entity(document: &BenchDocument, output: Output) {
    if let Some(one) = &document.one_entity {
        let mark = output.mark(if one.ratio >= RATIO_GOAL { Mark::Good } else { Mark::Bad });
        output.line(format_args!(
            "\n  {mark} one entity, {} in flight: {}/s; one fsync per command would allow {}/s on this disk: {:.1} times as fast",
            one.in_flight,
            rate(one.rate),
            rate(one.disk_fsyncs),
            one.ratio
        ));
        output.line(format_args!(
            "    that is for writes in place, the most that this disk can do; appended to a log {}/s: {:.1} times as fast",
            rate(one.disk_appends),
            one.ratio_to_appends
        ));
    }
}

/// What it took of the machine.
fn costs(document: &BenchDocument, output: Output) {
    if let Some(measured) = &document.sleepers {
        output.line(format_args!("\n{}", sleepers_line(measured)));
    }
    if let Some(fsyncs) = document.fsyncs {
        output.line(format_args!("    fdatasync was called {} times", grouped(fsyncs)));
    }
    if let Some(step) = document.steps.iter().find(|step| step.persists) {
        output.line(format_args!("\n  {} took", step.name));
        uses(&step.processes).for_each(|line| output.line(line));
        if let Some(bytes) = step.bytes_per_event {
            output.line(format_args!("    {} bytes written for each event", rate(bytes)));
        }
    }
}

/// What the nodes of an idle cluster take, one line each.
pub(super) fn idle_lines(idle: &IdleCluster) -> Vec<String> {
    let head = format!(
        "  idle for {} s, {} shards, {} replicas of each",
        idle.seconds, idle.shards, idle.replication
    );
    std::iter::once(head).chain(uses(&idle.nodes)).collect()
}

fn uses(processes: &[ProcessUse]) -> impl Iterator<Item = String> {
    processes.iter().map(|process| {
        format!(
            "    {:<18} {:>6.1} % of a core   {:>5} MiB",
            process.name,
            process.cores * 100.0,
            process.resident_kib / 1_024
        )
    })
}

/// The step that the host disturbed most, when that was more than little.
fn most_stolen(document: &BenchDocument) -> Option<&StepFigures> {
    let disturbed = document.steps.iter().filter(|step| step.stolen > Some(STOLEN_SHARE));
    disturbed.max_by(|one, other| one.stolen.partial_cmp(&other.stolen).unwrap_or(Ordering::Equal))
}

fn table(document: &BenchDocument, ascii: bool) -> Table {
    let mut table = Table::new();
    let style = if ascii { presets::ASCII_HORIZONTAL_ONLY } else { presets::UTF8_HORIZONTAL_ONLY };
    table.load_style(style.row_separator(comfy_table::LineStyle::none()));
    let titles = ["", "rate", "p50", "p90", "p99", "p99.9", "max", "errors", "late"];
    table.set_header(titles.map(right));
    for step in &document.steps {
        let late = step.late.map_or_else(|| "–".to_owned(), |it| format!("{:.1} %", it * 100.0));
        let mut row = vec![Cell::new(&step.name)];
        row.extend(columns(step).map(right));
        row.push(right(late));
        table.add_row(row);
    }
    table
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// What every table has of a step: its rate, five quantiles, its errors.
pub(super) fn columns(step: &StepFigures) -> [String; 7] {
    [
        format!("{}/s", rate(step.rate)),
        ms(step.p50_ms),
        ms(step.p90_ms),
        ms(step.p99_ms),
        ms(step.p999_ms),
        ms(step.max_ms),
        grouped(step.errors),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is small and positive"
)]
pub(super) fn rate(rate: f64) -> String {
    grouped(rate.round() as u64)
}

pub(super) fn ms(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_disturbed_step_is_named() {
        let step = |stolen| StepFigures { stolen, ..StepFigures::default() };
        let of = |steps| BenchDocument { steps, ..BenchDocument::default() };
        assert_eq!(most_stolen(&of(vec![step(None), step(Some(0.01))])), None);
        let steps = vec![step(Some(0.03)), step(Some(0.2)), step(None)];
        assert_eq!(most_stolen(&of(steps)).unwrap().stolen, Some(0.2));
    }

    #[test]
    fn the_table_has_a_line_for_each_step() {
        let step = |name: &str| StepFigures {
            name: name.into(),
            rate: 41_200.4,
            ..StepFigures::default()
        };
        let document = BenchDocument {
            steps: vec![step("read state"), step("command+persist")],
            ..BenchDocument::default()
        };
        let drawn = table(&document, false).to_string();
        assert!(drawn.contains("41,200/s") && drawn.contains("command+persist"), "{drawn}");
        // Three rules, the titles and the two steps.
        assert_eq!(drawn.lines().count(), 6, "{drawn}");
    }
}
