//! The limits of the node that bear on an outbox.

use std::time::Duration;

use holm_core::Limits;

/// See [`Limits`] for the reasons. Each is at least one: an outbox that does nothing would keep promises to nobody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboxLimits {
    pub(crate) in_flight: usize,
    pub(crate) open: usize,
    pub(crate) tries: u32,
    pub(crate) ask_timeout: Duration,
}

impl OutboxLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            in_flight: limits.reactions_in_flight.max(1),
            open: limits.reactions_open.max(1),
            tries: limits.reaction_tries.max(1),
            ask_timeout: limits.ask_timeout,
        }
    }
}
