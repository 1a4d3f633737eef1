//! Makes the timeline out of what the witnesses said. Pure.

use std::collections::BTreeMap;

use super::document::{GapCommands, Moment, MomentKind, TimelineDocument, Waits};
use super::probe::{ProbeKind, Probed};
use super::verbs::Act;
use super::watch::Picture;
use crate::load::LoadReport;
use crate::views::ClusterDocument;

/// A p99 above this counts as disturbed; below it, as well again.
const WELL_P99_US: u64 = 10_000;

/// What the witnesses said.
#[derive(Debug, Default)]
pub(super) struct Testimony {
    /// The last picture before the act.
    pub(super) before: ClusterDocument,
    /// All pictures, in order of time.
    pub(super) pictures: Vec<Picture>,
    /// What the probes asked.
    pub(super) probed: ProbeKind,
    /// All probes that have ended.
    pub(super) probes: Vec<Probed>,
    /// The load generator's reports.
    pub(super) reports: Vec<LoadReport>,
    /// When it was done, in microseconds since the epoch.
    pub(super) act_us: u64,
    /// Through how many nodes was looked.
    pub(super) witnesses: usize,
}

/// The document of an act on `node`, without the ledger's verdict.
pub(super) fn timeline(act: Act, node: &str, pid: u32, seen: &Testimony) -> TimelineDocument {
    let led = led_by(&seen.before, node);
    let after: Vec<_> = seen.pictures.iter().filter(|it| it.at_us >= seen.act_us).collect();
    let gained = after.last().map(|last| led_by(&last.view, node)).unwrap_or_default();
    let concerned = if act.takes_away() { led } else { gained };
    let mut moments =
        vec![moment(seen, seen.act_us, MomentKind::Act, format!("{node} {}", act.done()))];
    moments.extend(noticed(act, node, seen, &after));
    if act.takes_away() {
        moments.extend(reassigned(&concerned, node, seen, &after));
    }
    let answers = first_answers(seen);
    let shards = u32::try_from(seen.before.shards.len()).unwrap_or(u32::MAX);
    let all = answers.len() == shards as usize;
    let last_answer = answers.values().max().copied().filter(|_| all);
    if let Some(at_us) = last_answer {
        moments.push(moment(
            seen,
            at_us,
            MomentKind::Recovered,
            format!("{shards} of {shards} shards answer a {}", seen.probed.name()),
        ));
    }
    let well_again = p99_back(seen, &mut moments);
    moments.sort_by(|a, b| a.after_ms.total_cmp(&b.after_ms));
    let end_us = last_answer.unwrap_or(seen.act_us).max(well_again.unwrap_or_default());
    let waits = concerned
        .iter()
        .filter_map(|shard| Some(answers.get(shard)?.saturating_sub(seen.act_us)))
        .collect();
    let errors: Vec<_> = after_act(seen).filter_map(|probe| probe.error.as_ref()).collect();
    let longest = after_act(seen).map(|probe| probe.ended_us - probe.sent_us).max();
    TimelineDocument {
        act: act.name().to_owned(),
        node: node.to_owned(),
        pid,
        moments,
        shards,
        probed: seen.probed,
        shards_moved: u32::try_from(concerned.len()).unwrap_or(u32::MAX),
        all_serving_ms: last_answer.map(|at_us| ms(at_us.saturating_sub(seen.act_us))),
        unavailable: if act.takes_away() { Waits::of(waits) } else { None },
        longest_wait_ms: ms(longest.unwrap_or_default()),
        probe_errors: u32::try_from(errors.len()).unwrap_or(u32::MAX),
        first_probe_error: errors.first().map(ToString::to_string),
        commands: commands_between(seen, end_us),
        ledger: None,
        holds: true,
        settled: false,
    }
}

/// The shards that a node leads in a picture.
pub(super) fn led_by(view: &ClusterDocument, node: &str) -> Vec<u32> {
    view.shards
        .iter()
        .filter(|shard| shard.leader_name.as_deref() == Some(node))
        .map(|shard| shard.id)
        .collect()
}

/// For each state that the node takes in the eyes of others: when the first and when the last of them saw it.
fn noticed(act: Act, node: &str, seen: &Testimony, after: &[&Picture]) -> Vec<Moment> {
    let mut states: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    let known = state_of(&seen.before, node);
    for picture in after {
        let state = state_of(&picture.view, node);
        if state != known || !act.takes_away() {
            states.entry(state).or_default().entry(&picture.node).or_insert(picture.at_us);
        }
    }
    let mut moments = Vec::new();
    for (state, witnesses) in states {
        let kind = match state.as_str() {
            "up" => MomentKind::Recovered,
            _ => MomentKind::Noticed,
        };
        let Some(first) = witnesses.values().min() else { continue };
        // What was so before is no news; only the act can bring it about.
        if state == known && !act.takes_away() {
            continue;
        }
        let by = witnesses.iter().find(|(_, at)| *at == first).map_or("", |(name, _)| *name);
        moments.push(moment(seen, *first, kind, format!("{by} sees {node} {state}")));
        if let Some(last) = witnesses.values().max()
            && witnesses.len() > 1
            && witnesses.len() == seen.witnesses
        {
            let text = format!("all {} others see {node} {state}", witnesses.len());
            moments.push(moment(seen, *last, kind, text));
        }
    }
    moments
}

fn state_of(view: &ClusterDocument, node: &str) -> String {
    view.members
        .iter()
        .find(|member| member.name == node)
        .map_or_else(|| "gone".to_owned(), |member| member.state.clone())
}

/// When the first picture showed every concerned shard served by somebody else, and by whom.
fn reassigned(
    concerned: &[u32],
    node: &str,
    seen: &Testimony,
    after: &[&Picture],
) -> Option<Moment> {
    if concerned.is_empty() {
        return None;
    }
    let elsewhere = |picture: &Picture| {
        let mut leaders: BTreeMap<String, usize> = BTreeMap::new();
        for id in concerned {
            let shard = picture.view.shards.iter().find(|shard| shard.id == *id)?;
            let leader = shard.leader_name.clone().filter(|leader| leader != node)?;
            *leaders.entry(leader).or_default() += 1;
        }
        Some(leaders)
    };
    let (at_us, leaders) =
        after.iter().find_map(|picture| Some((picture.at_us, elsewhere(picture)?)))?;
    let to: Vec<_> = leaders.iter().map(|(name, count)| format!("{count} to {name}")).collect();
    let text = format!("{} shards reassigned: {}", concerned.len(), to.join(", "));
    Some(moment(seen, at_us, MomentKind::Moved, text))
}

/// For each shard, when the first probe that was sent after the act was answered.
fn first_answers(seen: &Testimony) -> BTreeMap<u32, u64> {
    let mut answers: BTreeMap<u32, u64> = BTreeMap::new();
    for probe in after_act(seen).filter(|probe| probe.error.is_none()) {
        let at = answers.entry(probe.shard).or_insert(probe.ended_us);
        *at = (*at).min(probe.ended_us);
    }
    answers
}

fn after_act(seen: &Testimony) -> impl Iterator<Item = &Probed> {
    seen.probes.iter().filter(|probe| probe.sent_us >= seen.act_us)
}

/// The end of the first window after the disturbed ones whose p99 is low again.
fn p99_back(seen: &Testimony, moments: &mut Vec<Moment>) -> Option<u64> {
    let after: Vec<_> = seen.reports.iter().filter(|it| it.at_us > seen.act_us).collect();
    let last_disturbed = after.iter().rposition(|it| it.p99_us > WELL_P99_US)?;
    let well = after.get(last_disturbed + 1)?;
    moments.push(moment(
        seen,
        well.at_us,
        MomentKind::Recovered,
        format!("p99 back under {} ms", WELL_P99_US / 1_000),
    ));
    Some(well.at_us)
}

/// What the load generator counted from the last report before the act to the first one at or after `end_us`.
fn commands_between(seen: &Testimony, end_us: u64) -> Option<GapCommands> {
    let before = seen.reports.iter().rev().find(|report| report.at_us <= seen.act_us)?;
    let after = seen
        .reports
        .iter()
        .find(|report| report.at_us >= end_us && report.at_us > seen.act_us)
        .or_else(|| seen.reports.last())?;
    let answered = |it: &LoadReport| it.total_answered + it.total_rejected;
    Some(GapCommands {
        sent: after.total_sent.saturating_sub(before.total_sent),
        answered: answered(after).saturating_sub(answered(before)),
        failed: after.total_failed.saturating_sub(before.total_failed),
        waiting: after.in_flight,
    })
}

fn moment(seen: &Testimony, at_us: u64, kind: MomentKind, text: String) -> Moment {
    Moment { after_ms: ms(at_us.saturating_sub(seen.act_us)), kind, text }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

#[cfg(test)]
#[path = "derive/tests.rs"]
mod tests;
