//! What became of the lines.

use serde::Serialize;

use super::line::BadLine;
use crate::output::{Mark, Output};

/// How many lines of each sort are named; the counts cover all of them.
const NAMED: usize = 20;

/// What became of the lines of a file.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Report {
    /// Commands in the file.
    pub(super) lines: u64,
    /// Took effect now.
    pub(super) accepted: u64,
    /// Had taken effect before and did not again.
    pub(super) replayed: u64,
    /// Those of them that were found in the history and not sent.
    pub(super) replayed_from_history: u64,
    /// Were refused by their entity.
    pub(super) rejected: u64,
    /// Got no answer, or one that says that the request is wrong.
    pub(super) failed: u64,
    /// Lines that are no commands.
    pub(super) bad_lines: u64,
    /// Tries that had to be repeated.
    pub(super) retries: u64,
    /// The first bad lines.
    pub(super) bad: Vec<BadLine>,
    /// The first rejections.
    pub(super) rejections: Vec<BadLine>,
    /// The first failures.
    pub(super) failures: Vec<Failed>,
}

/// A line without an answer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failed {
    pub(super) line: u64,
    pub(super) entity: String,
    pub(super) reason: String,
}

impl Report {
    pub(super) fn bad_line(&mut self, bad: BadLine) {
        self.bad_lines += 1;
        keep(&mut self.bad, bad);
    }

    pub(super) fn rejected(&mut self, line: u64, message: &str) {
        self.rejected += 1;
        keep(&mut self.rejections, BadLine { line, reason: message.to_owned() });
    }

    pub(super) fn failed(&mut self, failed: Failed) {
        self.failed += 1;
        keep(&mut self.failures, failed);
    }

    /// Adds the part of one courier.
    pub(super) fn add(&mut self, part: Self) {
        self.lines += part.lines;
        self.accepted += part.accepted;
        self.replayed += part.replayed;
        self.replayed_from_history += part.replayed_from_history;
        self.rejected += part.rejected;
        self.failed += part.failed;
        self.bad_lines += part.bad_lines;
        self.retries += part.retries;
        self.bad.extend(part.bad);
        self.rejections.extend(part.rejections);
        self.failures.extend(part.failures);
        self.rejections.sort_by_key(|rejection| rejection.line);
        self.failures.sort_by_key(|failure| failure.line);
        self.rejections.truncate(NAMED);
        self.failures.truncate(NAMED);
    }

    /// True when every line was a command and every command was answered. A rejection is an answer.
    pub(super) fn is_clean(&self) -> bool {
        self.failed == 0 && self.bad_lines == 0
    }

    pub(super) fn print(&self, output: Output) {
        if output.is_json() {
            output.document(self);
            return;
        }
        for bad in &self.bad {
            output.line(format_args!("  {} {bad}", output.mark(Mark::Bad)));
        }
        for rejection in &self.rejections {
            let mark = output.mark(Mark::Warning);
            output.line(format_args!(
                "  {mark} line {}: rejected: {}",
                rejection.line, rejection.reason
            ));
        }
        for failure in &self.failures {
            let (mark, Failed { line, entity, reason }) = (output.mark(Mark::Bad), failure);
            output.line(format_args!("  {mark} line {line}: {entity}: {reason}"));
        }
        let mark = output.mark(if self.is_clean() { Mark::Good } else { Mark::Bad });
        output.line(format_args!(
            "{mark} {} commands   {} accepted   {} replayed   {} rejected   {} failed   {} bad lines   {} retries",
            self.lines,
            self.accepted,
            self.replayed,
            self.rejected,
            self.failed,
            self.bad_lines,
            self.retries,
        ));
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < NAMED {
        list.push(item);
    }
}
