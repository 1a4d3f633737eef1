//! A timeline as a person reads it.

use super::document::{MomentKind, TimelineDocument};
use crate::dev::screen::grouped;
use crate::output::{Mark, Output};

pub(super) fn moments(document: &TimelineDocument, output: Output) {
    output.line("");
    for moment in &document.moments {
        let mark = output.mark(match moment.kind {
            MomentKind::Act => Mark::Bad,
            MomentKind::Noticed => Mark::Warning,
            MomentKind::Moved => Mark::Step,
            MomentKind::Recovered => Mark::Good,
        });
        output.line(format_args!("  {:>9}  {mark}  {}", after(moment.after_ms), moment.text));
    }
    output.line("");
}

pub(super) fn figures(document: &TimelineDocument, output: Output) {
    output.line(format_args!(
        "  Shards concerned           {} of {}",
        document.shards_moved, document.shards
    ));
    match document.all_serving_ms {
        Some(took) => output.line(format_args!("  Every shard answered after {took:.0} ms")),
        None => output.line(format_args!(
            "  {} not every shard answered within the watch",
            output.mark(Mark::Bad)
        )),
    }
    if let Some(caveat) = document.probed.caveat() {
        output.line(format_args!("  {} {caveat}", output.mark(Mark::Warning)));
    }
    if let Some(waits) = document.unavailable {
        output.line(format_args!(
            "  Unavailable per shard      {:.0} - {:.0} ms   median {:.0} ms",
            waits.min_ms, waits.max_ms, waits.median_ms
        ));
    }
    output.line(format_args!(
        "  Longest wait of a probe    {:.0} ms   {} errors{}",
        document.longest_wait_ms,
        document.probe_errors,
        document.first_probe_error.as_ref().map(|it| format!("   ({it})")).unwrap_or_default()
    ));
    if let Some(commands) = document.commands {
        output.line(format_args!(
            "  Commands in the gap        {} sent   {} answered   {} failed   {} still waiting",
            grouped(commands.sent),
            grouped(commands.answered),
            commands.failed,
            commands.waiting
        ));
    }
    if let Some(verdict) = &document.ledger {
        crate::load::show_verdict(verdict, output);
    }
}

/// What can be done next.
pub(super) fn next(document: &TimelineDocument, output: Output) {
    let node = &document.node;
    let next = match document.act.as_str() {
        "kill" => format!("Bring it back   holm restart {node}      Keep doing it   holm chaos"),
        "pause" => format!("Wake it up   holm resume {node}"),
        _ => return,
    };
    output.line(format_args!("\n  {next}"));
}

/// As in `+731 ms` or `+1.09 s`.
fn after(ms: f64) -> String {
    if ms < 0.5 {
        "0 ms".to_owned()
    } else if ms < 1_000.0 {
        format!("+{ms:.0} ms")
    } else {
        format!("+{:.2} s", ms / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_say_them() {
        assert_eq!(after(0.0), "0 ms");
        assert_eq!(after(731.4), "+731 ms");
        assert_eq!(after(1_090.0), "+1.09 s");
    }
}
