//! How a projection runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Clock, SystemClock};

use crate::failure::OnFailure;
use crate::observer::Observer;

/// Settings of a running projection, each with a default.
#[derive(Clone)]
pub struct Options {
    /// Facts of one transaction: it is closed with the record that reaches this. 512 small rows are some milliseconds of work, and few enough that
    /// doing them again record by record hurts nobody.
    pub group_facts: usize,
    /// How long a group that is not full waits for more. Zero takes what is ready: load makes groups larger by itself.
    pub group_time: Duration,
    /// What to do when the handler fails.
    pub on_failure: OnFailure,
    /// Tells the time, for figures and for what is set aside.
    pub clock: Arc<dyn Clock>,
    /// Hears what happens (law O22).
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group_facts: 512,
            group_time: Duration::ZERO,
            on_failure: OnFailure::default(),
            clock: Arc::new(SystemClock),
            observer: None,
        }
    }
}

impl Options {
    /// The defaults, with another answer to failures.
    #[must_use]
    pub fn on_failure(on_failure: OnFailure) -> Self {
        Self { on_failure, ..Self::default() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("group_facts", &self.group_facts)
            .field("group_time", &self.group_time)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}
