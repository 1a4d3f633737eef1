//! The trace of a run: what happened, when, to whom, in one order. Two runs of one seed have the same trace, byte for byte.
//!
//! It holds what the world does to the machines, what the code under test logs, and from time to time a digest of all that the network carried, so that a
//! run that differs anywhere differs in its trace.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use super::met::Met;
use super::time::WorldTime;
use crate::sometimes::Situation;

/// Lines kept. An hour of the busiest world is far below; a loop that logs is not.
const LINES: usize = 500_000;

/// What the code under test says when something happens that shows nowhere else. A wording that changes shows as a situation that is never met.
const SAID: [(&str, Situation); 2] = [
    ("dropping entries that no majority had", Situation::TailReplaced),
    ("the leases of a process that has ended are let go", Situation::LeaseLetGo),
];

/// The trace of one world. Clones share it.
#[derive(Clone)]
pub struct Trace {
    time: WorldTime,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    kept: Vec<String>,
    left_out: usize,
    who: Option<String>,
}

impl Trace {
    pub(super) fn new(time: WorldTime) -> Self {
        Self { time, lines: Arc::default() }
    }

    /// Adds a line about whoever runs at the moment.
    pub fn note(&self, what: impl fmt::Display) {
        let millis = self.time.elapsed().as_millis();
        let mut lines = self.lock();
        if lines.kept.len() >= LINES {
            lines.left_out += 1;
            return;
        }
        let who = lines.who.as_deref().unwrap_or("world");
        let line = format!("{:>4}.{:03} {who:<6} {what}", millis / 1_000, millis % 1_000);
        lines.kept.push(line);
    }

    /// Who runs from now on.
    pub(super) fn enter(&self, who: Option<&str>) {
        self.lock().who = who.map(str::to_owned);
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lock();
        let mut all = lines.kept.clone();
        if lines.left_out > 0 {
            all.push(format!("… {} lines left out", lines.left_out));
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.lock().kept.len()).finish_non_exhaustive()
    }
}

/// Takes what is logged into the trace: what our crates say about what they do, and the warnings of all others.
pub(super) struct Listener {
    trace: Trace,
    met: Met,
}

impl Listener {
    pub(super) fn new(trace: Trace, met: Met) -> Self {
        Self { trace, met }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("holm");
        let least = if ours { Level::INFO } else { Level::ERROR };
        metadata.is_event() && *metadata.level() <= least
    }

    fn max_level_hint(&self) -> Option<tracing::metadata::LevelFilter> {
        Some(tracing::metadata::LevelFilter::INFO)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // Spans are not enabled; the number means nothing.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        for (message, situation) in SAID {
            self.met.met_times(situation, u64::from(said.message == message));
        }
        let level = event.metadata().level();
        if event.metadata().target().starts_with("holm") {
            self.trace.note(format_args!("{level} {}{}", said.message, said.fields));
        } else {
            let said = without_times_of_day(&format!("{}{}", said.message, said.fields));
            self.trace.note(format_args!("{level} {said}"));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// openraft prints an instant as the time of day of the machine on which the simulation runs. That is the one thing in a trace that is not the
/// simulated world's, so it is left out.
fn without_times_of_day(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = time_of_day(rest.as_bytes());
        if length > 0 {
            kept.push_str("<time>");
            rest = &rest[length..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}

/// The length of `00:00:00`, with or without a fraction, at the beginning of a text; zero when there is none.
fn time_of_day(text: &[u8]) -> usize {
    const FORM: &[u8; 8] = b"00:00:00";
    let Some(time) = text.first_chunk::<8>() else { return 0 };
    let fits = time.iter().zip(FORM).all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        colon => found == colon,
    });
    if !fits {
        return 0;
    }
    match text[8..].split_first() {
        Some((b'.', fraction)) => {
            9 + fraction.iter().take_while(|digit| digit.is_ascii_digit()).count()
        }
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_left_out_and_nothing_else() {
        let said = "… sending_time: 00:36:35.968813(round=123) at 12:00:01, 1:2:3 – 10.5";
        let kept = "… sending_time: <time>(round=123) at <time>, 1:2:3 – 10.5";
        assert_eq!(without_times_of_day(said), kept);
    }
}
