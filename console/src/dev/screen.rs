//! What `holm dev` prints.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::DevArgs;
use super::await_ready::Serving;
use super::state::ProcessState;
use crate::load::LoadReport;
use crate::output::{Mark, Output};
use crate::state_file::{RunningCluster, RunningNode};

/// Seconds between two lines where a line cannot be redrawn.
const LINE_EVERY_SECONDS: u64 = 10;

/// The terminal, or whatever stands in for it.
#[derive(Debug)]
pub(super) struct Screen {
    output: Output,
    /// Prints progress to stderr only: the result is one JSON document, or belongs to the parent of a detached supervisor.
    quiet: bool,
    started: Instant,
    ticks: u64,
    /// A line stands unfinished and must be ended before another one.
    drawn: bool,
}

/// What the last line shows.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) nodes: Vec<ProcessState>,
    /// None when no node said.
    pub(super) shards: Option<ServedShards>,
    pub(super) last_second: Option<LoadReport>,
}

/// How many shards are served, as a node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServedShards {
    pub(super) served: usize,
    pub(super) of: usize,
}

impl Screen {
    pub(super) fn new(output: Output, quiet: bool) -> Self {
        let quiet = quiet || output.is_json();
        Self { output, quiet, started: Instant::now(), ticks: 0, drawn: false }
    }

    pub(super) const fn is_json(&self) -> bool {
        self.output.is_json()
    }

    pub(super) fn document(&self, document: &RunningCluster) {
        self.output.document(document);
    }

    pub(super) fn header(&mut self, args: &DevArgs, temporary: bool, data: &Path) {
        let data = if temporary { "temporary".to_owned() } else { data.display().to_string() };
        let serves = match &args.bin {
            Some(bin) => format!("program: {}", bin.display()),
            None => format!("demo domain: {}", args.domain.name()),
        };
        self.say(&format!(
            "holm {}   local cluster of {} processes   {serves}   data: {data}\n",
            env!("CARGO_PKG_VERSION"),
            args.nodes,
        ));
    }

    pub(super) fn warn(&mut self, text: &str) {
        let mark = self.output.mark(Mark::Warning);
        self.say(&format!("  {mark} {text}"));
    }

    pub(super) fn node_up(&mut self, node: &RunningNode, took_us: u64) {
        let mark = self.output.mark(Mark::Good);
        self.say(&format!(
            "  {mark} {:<8} pid {:<7} {:<21} up    {}",
            node.name,
            node.pid,
            node.peer,
            seconds(took_us)
        ));
    }

    pub(super) fn node_ended(&mut self, name: &str, why: &str, log: &Path) {
        let mark = self.output.mark(Mark::Bad);
        self.say(&format!(
            "  {mark} {name} ended by itself ({why}); see {}   holm restart {name} brings it back",
            log.display()
        ));
    }

    pub(super) fn serving<'a>(&mut self, serving: &Serving, nodes: impl Iterator<Item = &'a str>) {
        let mark = self.output.mark(Mark::Good);
        let leads: Vec<_> = nodes
            .map(|name| serving.leads.get(name).copied().unwrap_or_default().to_string())
            .collect();
        let took = seconds(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.say(&format!(
            "  {mark} cluster  {} shards placed  {}     {took}",
            serving.shards,
            leads.join(" / ")
        ));
    }

    pub(super) fn load_running(&mut self, report: &LoadReport, rate: u32) {
        let mark = self.output.mark(Mark::Good);
        let all = report.accounts_given_up == 0;
        let opened = if all { mark.clone() } else { self.output.mark(Mark::Warning) };
        let of = if all { String::new() } else { format!(" of {}", report.accounts_wanted) };
        let took = seconds(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.say(&format!(
            "  {opened} bank     {}{of} accounts opened    {took}",
            grouped(report.accounts.into())
        ));
        self.say(&format!(
            "  {mark} load     {} commands/s  (transfers, deposits, reads)",
            grouped(rate.into())
        ));
    }

    pub(super) fn invitation(&mut self, http: &str, nodes: &[&str], bank: bool, temporary: bool) {
        let example = nodes.get(1).or(nodes.first()).copied().unwrap_or("holm-1");
        let entity = if bank { "account/1" } else { "TYPE/ID" };
        let entity_type = if bank { "account" } else { "TYPE" };
        let end = if temporary {
            "Ctrl-C stops everything. Data is deleted on exit; keep it with --keep."
        } else {
            "Ctrl-C stops everything. Data is kept."
        };
        self.say(&format!(
            "\n  API        {http}/api/v1/cluster      metrics  {http}/metrics\n  \
               Logs       .holm/dev/{{{}}}.log\n\n  \
               In another terminal, try\n    \
                 holm kill {example:<20} kill -9 one node and watch it recover\n    \
                 holm status                    members and shards\n    \
                 holm show {entity:<20} one entity: its history, and its state at any past point\n    \
                 holm flow --latest {entity_type:<11} what one command led to, in every entity it touched\n    \
                 holm bench                     how fast is this machine\n\n  \
               {end}\n",
            nodes.join(",")
        ));
    }

    /// Called once a second: true when the last line is to be drawn.
    pub(super) fn is_line_due(&mut self) -> bool {
        self.ticks += 1;
        self.redraws() || self.ticks.is_multiple_of(LINE_EVERY_SECONDS)
    }

    fn redraws(&self) -> bool {
        !self.quiet && self.output.may_redraw()
    }

    pub(super) fn live(&mut self, live: &Live) {
        let line = self.live_line(live);
        if self.redraws() {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r{line}\x1b[K");
            let _ = out.flush();
            self.drawn = true;
        } else {
            self.say(&line);
        }
    }

    fn live_line(&self, live: &Live) -> String {
        let up = self.started.elapsed().as_secs();
        let marks: Vec<_> = live.nodes.iter().map(|state| self.node_mark(*state)).collect();
        let mut line = format!("{:02}:{:02}  {}", up / 60, up % 60, marks.join(" "));
        if let Some(load) = &live.last_second {
            line.push_str(&format!(
                "   {} cmd/s   {} ev/s   p99 {:.1} ms   failures {}",
                grouped(load.per_second(load.answered + load.rejected)),
                grouped(load.per_second(load.events)),
                load.p99_us as f64 / 1_000.0,
                load.total_failed
            ));
        }
        line.push_str(&match live.shards {
            Some(ServedShards { served, of }) => format!("   shards {served}/{of}"),
            None => "   no node answers".to_owned(),
        });
        line
    }

    fn node_mark(&self, state: ProcessState) -> &'static str {
        match (state, self.output.is_ascii()) {
            (ProcessState::Up, false) => "●",
            (ProcessState::Up, true) => "o",
            (ProcessState::Starting | ProcessState::Paused, false) => "◌",
            (ProcessState::Starting | ProcessState::Paused, true) => ".",
            (_, false) => "✕",
            (_, true) => "x",
        }
    }

    pub(super) fn stopping(&mut self) {
        if self.drawn {
            println_quietly("");
            self.drawn = false;
        }
    }

    pub(super) fn stopped(&mut self, temporary: bool, data: &Path) {
        let data = if temporary {
            "data deleted".to_owned()
        } else {
            format!("data kept in {}", data.display())
        };
        self.say(&format!("stopped   {data}"));
    }

    fn say(&mut self, text: &str) {
        if self.quiet {
            self.output.progress(text);
            return;
        }
        if self.drawn {
            print_quietly("\r\x1b[K");
            self.drawn = false;
        }
        self.output.line(text);
    }
}

fn print_quietly(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn println_quietly(text: &str) {
    print_quietly(text);
    print_quietly("\n");
}

/// As in `1.1 s`.
fn seconds(us: u64) -> String {
    format!("{:.1} s", Duration::from_micros(us).as_secs_f64())
}

/// As in `12,408`.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Color;

    #[test]
    fn the_last_line_says_how_many_shards_are_served_now() {
        let screen = Screen::new(Output::new(false, true, Color::Never), false);
        let nodes = vec![ProcessState::Up, ProcessState::Killed, ProcessState::Paused];
        let load = LoadReport {
            window_us: 1_000_000,
            answered: 1_990,
            rejected: 8,
            events: 2_391,
            p99_us: 3_800,
            ..LoadReport::default()
        };
        let shards = Some(ServedShards { served: 31, of: 32 });
        let live = Live { nodes, shards, last_second: Some(load) };
        assert_eq!(
            screen.live_line(&live),
            "00:00  o x .   1,998 cmd/s   2,391 ev/s   p99 3.8 ms   failures 0   shards 31/32"
        );
        let silent = Live { shards: None, last_second: None, ..live };
        assert_eq!(screen.live_line(&silent), "00:00  o x .   no node answers");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(12_408), "12,408");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
