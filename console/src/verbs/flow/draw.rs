//! The drawing of a flow: a document to lines of text. A command, who handled it where, and below it what came of it and what it led to.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::output::{Mark, Output};
use crate::verbs::show::in_words;
use crate::views::{
    AwaitedDocument, FlowDocument, FlowProjectionDocument, FlowStepDocument, MoveDocument,
    RecordedEvent,
};

/// Levels that are indented. What lies deeper stands at the same place and says how deep it is, so that a chain of ten thousand stays readable.
const MOST_LEVELS: usize = 24;

/// Events of one command that are drawn.
const MOST_EVENTS: usize = 5;

/// Characters of what an event or a rejection says.
const MOST_WORDS: usize = 80;

/// The whole drawing.
pub(super) fn lines(flow: &FlowDocument, output: Output) -> Vec<String> {
    let mut lines = vec![head(flow, output), String::new()];
    let mut last_child = vec![None; flow.steps.len()];
    for (index, step) in flow.steps.iter().enumerate() {
        if let Some(parent) = step.parent.filter(|parent| *parent < index) {
            last_child[parent] = Some(index);
        }
    }
    let mut awaited: BTreeMap<usize, Vec<&AwaitedDocument>> = BTreeMap::new();
    flow.awaited.iter().for_each(|it| awaited.entry(it.parent).or_default().push(it));
    let drawing = Drawing::new(output);
    // What stands left of the children of each step.
    let mut left: Vec<String> = Vec::with_capacity(flow.steps.len());
    for (index, step) in flow.steps.iter().enumerate() {
        let parent = step.parent.filter(|parent| *parent < index);
        let (own, below) = match parent {
            None => (String::new(), String::new()),
            Some(parent) if step.depth > MOST_LEVELS => {
                (left[parent].clone(), left[parent].clone())
            }
            Some(parent) => {
                let is_last = last_child[parent] == Some(index);
                let (branch, trunk) = drawing.joints(is_last);
                (format!("{}{branch}", left[parent]), format!("{}{trunk}", left[parent]))
            }
        };
        let time = span(step.after_ms);
        lines.push(format!("{time:>9}  {own}{}", drawing.command(step)));
        let awaited = awaited.get(&index).map_or(&[][..], |awaited| awaited);
        let has_children = last_child[index].is_some() || !awaited.is_empty();
        let trunk = if has_children { drawing.joints(false).1 } else { "   " };
        for it in flow.moves.iter().filter(|it| it.step == Some(index)) {
            lines.push(format!("{:>9}  {below}{trunk}{}", span(it.after_ms), drawing.moved(it)));
        }
        for said in drawing.outcome(step) {
            lines.push(format!("{:9}  {below}{trunk}{said}", ""));
        }
        // What is still open stands first, where a reader looks who wonders what is missing.
        for (nth, one) in awaited.iter().enumerate() {
            let is_last = last_child[index].is_none() && nth + 1 == awaited.len();
            let time = one.due_after_ms.map_or_else(String::new, span);
            let branch = drawing.joints(is_last).0;
            lines.push(format!("{time:>9}  {below}{branch}{}", drawing.awaited(one)));
        }
        left.push(below);
    }
    let seen_by = seen_by(&flow.projections, output);
    if !seen_by.is_empty() {
        lines.push(String::new());
        lines.extend(seen_by);
    }
    let notes = notes(flow, output);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines.push(String::new());
    let first = flow.steps.first().map_or("TYPE/ID", |step| &step.entity);
    let next = format!(
        "  One entity   holm show {first}     as JSON   --json     only problems   --failed"
    );
    lines.push(output.faint(next));
    lines
}

fn head(flow: &FlowDocument, output: Output) -> String {
    let (mark, verdict) = match (flow.failed, flow.rejected) {
        (0, 0) => (Mark::Good, "all accepted".to_owned()),
        (0, rejected) => (Mark::Warning, format!("{rejected} rejected")),
        (failed, 0) => (Mark::Bad, format!("{failed} failed")),
        (failed, rejected) => (Mark::Bad, format!("{failed} failed, {rejected} rejected")),
    };
    let root = match &flow.last_event {
        Some(last) => format!("{} {last}", flow.root),
        None => flow.root.clone(),
    };
    // Nodes of an earlier version do not tell it.
    let trace = match &*flow.trace_id {
        "" => String::new(),
        trace => output.faint(format!("   trace {trace}")),
    };
    format!(
        "flow {}   {root}   {} {verdict}   {}   {}   {}   {}{trace}",
        output.strong(&flow.correlation_id),
        output.mark(mark),
        counted(flow.steps.len(), "command", "commands"),
        counted(flow.entities, "entity", "entities"),
        counted(flow.events, "event", "events"),
        span(flow.lasted_ms),
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// One line for each projection that has seen all of it on every node, one for each node where it has not.
fn seen_by(projections: &[FlowProjectionDocument], output: Output) -> Vec<String> {
    let mut lines = Vec::new();
    for of_one in projections.chunk_by(|a, b| a.name == b.name) {
        let (all, part): (Vec<_>, Vec<_>) = of_one.iter().partition(|it| it.passed >= it.commands);
        if let Some(FlowProjectionDocument { name, .. }) = all.first() {
            let nodes: Vec<_> = all.iter().map(|it| &*it.node).collect();
            let nodes = output.faint(nodes.join(", "));
            let mark = output.mark(Mark::Good);
            lines.push(format!("  {mark} projection {name} caught up to all of it   {nodes}"));
        }
        for FlowProjectionDocument { name, node, state, passed, commands } in part {
            let commands = counted(*commands, "command", "commands");
            let (mark, where_to) = (output.mark(Mark::Warning), output.faint(node));
            lines.push(format!(
                "  {mark} projection {name} has seen {passed} of {commands}, and is {state}   {where_to}"
            ));
        }
    }
    lines
}

/// What a reader must know before taking the drawing for the whole.
fn notes(flow: &FlowDocument, output: Output) -> Vec<String> {
    let mut notes = Vec::new();
    let searched = &flow.searched;
    if let (shards @ 1.., false) = (searched.searched_shards, searched.everything) {
        notes.push(format!(
            "{} searched: a flow is found at once where correlation_index = true",
            counted(shards, "shard was", "shards were")
        ));
    }
    if flow.steps.iter().any(|step| step.node.is_none()) {
        notes.push(
            "where the log does not say who handled a command, who leads now is named".to_owned(),
        );
    }
    for MoveDocument { shard, from, to, after_ms, .. } in
        flow.moves.iter().filter(|it| it.step.is_none())
    {
        let after = span(*after_ms);
        notes.push(format!("shard {shard} moved from {from} to {to} meanwhile, after {after}"));
    }
    if flow.moves_unknown {
        notes.push(
            "whether shards moved meanwhile is not known: the facts of the cluster cannot be read so far back, or not now"
                .to_owned(),
        );
    }
    if flow.left_out > 0 {
        notes.push(format!("{} later commands are left out: a flow has limits", flow.left_out));
    }
    if !searched.unread_shards.is_empty() {
        let shards: Vec<_> = searched.unread_shards.iter().map(u32::to_string).collect();
        notes.push(format!("not read, so something may be missing: shards {}", shards.join(", ")));
    }
    if searched.unfinished_shards > 0 {
        let shards = searched.unfinished_shards;
        notes.push(format!("the time was too short for {shards} shards; --timeout-ms gives more"));
    }
    if let (true, Some(until)) = (searched.goes_on, &searched.until) {
        notes.push(format!("searched until {until}; --everything searches all that came later"));
    }
    notes.iter().map(|note| format!("  {} {note}", output.mark(Mark::Warning))).collect()
}

/// How things look, on this terminal.
struct Drawing {
    output: Output,
    command: &'static str,
    timer: &'static str,
    answer: &'static str,
    moved: &'static str,
    joint: &'static str,
    corner: &'static str,
    trunk: &'static str,
    ellipsis: &'static str,
}

impl Drawing {
    fn new(output: Output) -> Self {
        let [command, timer, answer, moved, joint, corner, trunk, ellipsis] = if output.is_ascii() {
            [">", "@", "<", "~", "|- ", "`- ", "|  ", "..."]
        } else {
            ["▷", "⧖", "◁", "⇢", "├─ ", "└─ ", "│  ", "…"]
        };
        Self { output, command, timer, answer, moved, joint, corner, trunk, ellipsis }
    }

    /// What joins a child to its cause, and what stands left of all that is below that child.
    fn joints(&self, is_last: bool) -> (&'static str, &'static str) {
        if is_last { (self.corner, "   ") } else { (self.joint, self.trunk) }
    }

    fn command(&self, step: &FlowStepDocument) -> String {
        let mut aside = Vec::new();
        match (&step.node, &step.leader) {
            (Some(node), _) => aside.push(node.clone()),
            (None, Some(leader)) => aside.push(format!("{leader} now")),
            (None, None) => {}
        }
        aside.push(format!("shard {}", step.shard));
        aside.extend(step.gap_ms.map(|gap| format!("+{}", span(gap))));
        let sign = match step.way.as_str() {
            "timer" => {
                aside.push("timer".to_owned());
                self.timer
            }
            "answer" => {
                aside.push("answer".to_owned());
                self.answer
            }
            _ => self.command,
        };
        if step.attempt > 1 {
            aside.push(format!("attempt {}", step.attempt));
        }
        if step.depth > MOST_LEVELS {
            aside.push(format!("depth {}", step.depth));
        }
        match step.origin.as_str() {
            "missing" => aside.push(format!("its cause {} was not found", step.causation_id)),
            "circle" => aside.push("its causes lead back to it".to_owned()),
            _ => {}
        }
        format!(
            "{sign} {}   {}   {}",
            step.command,
            self.output.strong(&step.entity),
            self.output.faint(aside.join("   "))
        )
    }

    /// Why a command may have waited.
    fn moved(&self, MoveDocument { shard, from, to, .. }: &MoveDocument) -> String {
        let from = self.output.faint(format_args!("from {from} to {to}"));
        format!("{} shard {shard} moved meanwhile   {from}", self.moved)
    }

    /// What was sent and is not handled.
    fn awaited(&self, awaited: &AwaitedDocument) -> String {
        let (sign, why) = match awaited.due {
            Some(_) => (self.timer, "timer, no record of it yet"),
            None => (self.command, "sent, no record of it yet"),
        };
        let entity = self.output.strong(&awaited.entity);
        format!("{sign} {}   {entity}   {}", awaited.command, self.output.faint(why))
    }

    /// One line for each event, or for why there is none.
    fn outcome(&self, step: &FlowStepDocument) -> Vec<String> {
        let mark = |mark| self.output.mark(mark);
        match step.outcome.as_str() {
            "rejected" => {
                let why = self.shortened(&step.message);
                return vec![format!("{} rejected   {why}", mark(Mark::Bad))];
            }
            "failed" => {
                let why = self.shortened(&step.message);
                return vec![format!("{} failed   {why}", mark(Mark::Bad))];
            }
            _ if step.events.is_empty() => {
                return vec![format!("{} changed nothing   seq {}", mark(Mark::Good), step.seq)];
            }
            _ => {}
        }
        let event = |(nth, event): (u64, &RecordedEvent)| {
            let words = self.shortened(&in_words(&event.data));
            let space = if words.is_empty() { "" } else { "   " };
            let seq = self.output.faint(format_args!("seq {}", step.base_seq + nth));
            format!("{} {}{space}{words}   {seq}", mark(Mark::Good), event.event)
        };
        let mut lines: Vec<_> = (1..).zip(&step.events).take(MOST_EVENTS).map(event).collect();
        let more = step.events.len().saturating_sub(MOST_EVENTS);
        if more > 0 {
            lines.push(format!("{} {more} more, to seq {}", self.ellipsis, step.seq));
        }
        lines
    }

    /// One line, and not a long one.
    fn shortened(&self, text: &str) -> String {
        let line = text.lines().next().unwrap_or_default();
        if line.chars().count() <= MOST_WORDS {
            return line.to_owned();
        }
        let begin: String = line.chars().take(MOST_WORDS).collect();
        format!("{begin}{}", self.ellipsis)
    }
}

/// `84 ms`, `12.3 s`, `5 min`.
fn span(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{millis} ms"),
        10_000..120_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => crate::output::short_age(millis / 1_000),
    }
}
