//! A campaign as a person reads it.

use super::document::{CampaignDocument, RoundDocument};
use super::transfers::TransfersDocument;
use crate::output::{Mark, Output};
use crate::timeline::Waits;

pub(super) fn heading(document: &CampaignDocument, rounds: usize, output: Output) {
    output.progress(format_args!(
        "{rounds} rounds against {} nodes, seed {}; every shard must answer a {} within {} s",
        document.nodes,
        document.seed,
        document.probed.name(),
        document.within_s
    ));
    for skipped in &document.skipped {
        output.progress(format_args!(
            "  {} {} skipped ({} rounds): {}",
            output.mark(Mark::Warning),
            skipped.fault,
            skipped.rounds,
            skipped.reason
        ));
    }
}

pub(super) fn round(round: &RoundDocument, output: Output) {
    let mark = output.mark(if round.problems.is_empty() { Mark::Good } else { Mark::Bad });
    output.progress(format_args!(
        "  {mark} {:>4}  {:<19} {:<14} led {:<3} every shard answers after {:<9} well {:<9} after its end   {} probe errors   {} failed commands",
        round.nth,
        round.fault.name(),
        round.nodes.join(","),
        round.led_shards,
        time(round.all_serving_ms),
        time(round.healed_ms),
        round.probe_errors,
        round.failed_commands,
    ));
    for problem in &round.problems {
        output.progress(format_args!("          {problem}"));
    }
}

pub(super) fn report(document: &CampaignDocument, output: Output) {
    for fault in &document.faults {
        output.line(format_args!(
            "  {:<19} {:>4} rounds   every shard answers after {}   well {} after its end",
            fault.fault.name(),
            fault.rounds,
            waits(fault.all_serving),
            waits(fault.healed)
        ));
    }
    output.line(format_args!(
        "  {} rounds of {} planned   {} probe errors   {} failed commands",
        document.rounds.len(),
        document.planned,
        document.probe_errors,
        document.failed_commands
    ));
    left_out(document, output);
    if let Some(verdict) = &document.ledger {
        crate::load::show_verdict(verdict, output);
    }
    if let Some(order) = &document.order {
        let mark = output.mark(if order.holds() { Mark::Good } else { Mark::Bad });
        output.line(format_args!(
            "  {mark} Order          {} answers of {} entities, {} reads   {} contradict real time   {} reads untrue",
            order.operations, order.entities, order.reads, order.stale, order.untrue
        ));
    }
    if let Some(saw) = &document.followers {
        let mark = output.mark(if saw.problems.is_empty() { Mark::Good } else { Mark::Bad });
        output.line(format_args!(
            "  {mark} Followers      {} facts   {} in the view   {} given to members, {} of them again   {} readers killed, {} paused",
            saw.facts, saw.in_view, saw.deliveries, saw.repeated, saw.kills, saw.pauses
        ));
    }
    if let Some(money) = &document.transfers {
        transfers(money, output);
    }
    growth(document, output);
    for problem in &document.problems {
        output.line(format_args!("  {} {problem}", output.mark(Mark::Bad)));
    }
}

fn growth(document: &CampaignDocument, output: Output) {
    // None that grew says nothing where none was judged.
    let judged = document.resources.len();
    let mark = output.mark(if judged == 0 { Mark::Warning } else { Mark::Good });
    output.line(format_args!(
        "  {mark} Growth         {judged} of {} processes lived long enough to be judged",
        document.processes
    ));
    for node in &document.resources {
        output.line(format_args!(
            "    {:<8} pid {:<7} {:>4} rounds   memory {} to {} MiB   descriptors {} to {}   threads {} to {}",
            node.node,
            node.pid,
            node.rounds,
            node.memory_kib.from / 1_024,
            node.memory_kib.to / 1_024,
            node.descriptors.from,
            node.descriptors.to,
            node.threads.from,
            node.threads.to
        ));
    }
}

/// What was not probed, and what was not done.
fn left_out(document: &CampaignDocument, output: Output) {
    if let Some(caveat) = document.probed.caveat() {
        output.line(format_args!("  {} {caveat}", output.mark(Mark::Warning)));
    }
    for skipped in &document.skipped {
        output.line(format_args!(
            "  {} {} rounds of {} skipped: {}",
            output.mark(Mark::Warning),
            skipped.rounds,
            skipped.fault,
            skipped.reason
        ));
    }
}

fn transfers(money: &TransfersDocument, output: Output) {
    let mark = output.mark(if money.problems.is_empty() { Mark::Good } else { Mark::Bad });
    let stages: Vec<_> =
        money.stages.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    output.line(format_args!(
        "  {mark} Transfers      {} of {} started between {} accounts, {} of which were closed   {}   {} of {} cents   {} questions asked again",
        money.started, money.planned, money.accounts, money.closed, stages.join(", "), money.sum, money.paid_in, money.retries
    ));
    if let (Some(least), Some(most)) = (money.at_harm.iter().min(), money.at_harm.iter().max()) {
        output.line(format_args!("    at each harm {least} to {most} of them were under way"));
    }
}

fn time(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"))
}

fn waits(waits: Option<Waits>) -> String {
    waits.map_or_else(
        || "-".to_owned(),
        |it| format!("{:.0} ms (median), {:.0} ms (worst)", it.median_ms, it.max_ms),
    )
}
