//! A history as text: one JSON object a line, in the order operations, batches, snapshots, facts, samples.
//!
//! A line that cannot be read is an error with its number and never skipped: half a history is none.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::{
    History, HistoryFull, HistoryLimits, Operation, Sample, SeenBatch, SeenFact, SeenSnapshot,
};

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Operation(Cow<'a, Operation>),
    Batch(Cow<'a, SeenBatch>),
    Snapshot(Cow<'a, SeenSnapshot>),
    Fact(Cow<'a, SeenFact>),
    Sample(Sample),
}

impl History {
    /// Writes the history as NDJSON.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_ndjson(&self, mut to: impl Write) -> io::Result<()> {
        let operations = self.operations.iter().map(|it| Line::Operation(Cow::Borrowed(it)));
        let batches = self.batches.iter().map(|it| Line::Batch(Cow::Borrowed(it)));
        let snapshots = self.snapshots.iter().map(|it| Line::Snapshot(Cow::Borrowed(it)));
        let facts = self.facts.iter().map(|it| Line::Fact(Cow::Borrowed(it)));
        let samples = self.samples.iter().map(|it| Line::Sample(*it));
        for line in operations.chain(batches).chain(snapshots).chain(facts).chain(samples) {
            serde_json::to_writer(&mut to, &line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads what [`History::write_ndjson`] wrote. Empty lines are left out.
    ///
    /// # Errors
    /// [`HistoryFileError`] names the line.
    pub fn read_ndjson(
        from: impl BufRead,
        limits: HistoryLimits,
    ) -> Result<Self, HistoryFileError> {
        let mut history = Self::new(limits);
        for (line, text) in (1..).zip(from.lines()) {
            let text = text.map_err(|source| HistoryFileError::Unreadable { line, source })?;
            if text.trim().is_empty() {
                continue;
            }
            let parsed = serde_json::from_str(&text)
                .map_err(|source| HistoryFileError::Malformed { line, source })?;
            match parsed {
                Line::Operation(operation) => history.add_operation(operation.into_owned()),
                Line::Batch(batch) => history.observe_batch(batch.into_owned()),
                Line::Snapshot(snapshot) => history.observe_snapshot(snapshot.into_owned()),
                Line::Fact(fact) => history.observe_fact(fact.into_owned()),
                Line::Sample(sample) => history.observe_sample(sample),
            }
            .map_err(|source| HistoryFileError::Full { line, source })?;
        }
        Ok(history)
    }
}

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryFileError {
    /// The file cannot be read.
    #[error("line {line} of the history cannot be read")]
    Unreadable {
        /// Which line.
        line: usize,
        /// What the reader said.
        source: io::Error,
    },
    /// The line is something else.
    #[error("line {line} is neither an operation, a batch, a snapshot, a fact nor a sample")]
    Malformed {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file is longer than allowed.
    #[error("line {line} is one too many")]
    Full {
        /// Which line.
        line: usize,
        /// The limit.
        source: HistoryFull,
    },
}
