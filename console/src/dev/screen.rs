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
    pub(super) shards: u32,
    pub(super) last_second: Option<LoadReport>,
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
        self.say(&format!(
            "holm {}   local cluster of {} processes   demo domain: {}   data: {data}\n",
            env!("CARGO_PKG_VERSION"),
            args.nodes,
            args.domain
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

    pub(super) fn load_running(&mut self, accounts: u32, rate: u32) {
        let mark = self.output.mark(Mark::Good);
        let took = seconds(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.say(&format!(
            "  {mark} bank     {} accounts opened    {took}",
            grouped(accounts.into())
        ));
        self.say(&format!(
            "  {mark} load     {} commands/s  (transfers, deposits, reads)",
            grouped(rate.into())
        ));
    }

    pub(super) fn invitation(&mut self, http: &str, nodes: &[&str], temporary: bool) {
        let example = nodes.get(1).or(nodes.first()).copied().unwrap_or("holm-1");
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
                 holm show account/1            one entity: its history, and its state at any past point\n    \
                 holm flow --latest account     what one command led to, in every entity it touched\n    \
                 holm bench                     how fast is this machine\n\n  \
               {end}\n",
            nodes.join(",")
        ));
    }

    pub(super) fn live(&mut self, live: &Live) {
        self.ticks += 1;
        let redraw = !self.quiet && self.output.may_redraw();
        if !redraw && !self.ticks.is_multiple_of(LINE_EVERY_SECONDS) {
            return;
        }
        let line = self.live_line(live);
        if redraw {
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
        line.push_str(&format!("   shards {}", live.shards));
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

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(12_408), "12,408");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
