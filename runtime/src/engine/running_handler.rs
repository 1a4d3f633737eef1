//! Which handler runs at the moment, in one number that any thread may read: a handler that does not come back cannot tell of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::tally::CommandIndex;

/// What an engine notes: two plain stores for each command, no clock.
#[derive(Debug, Default)]
pub(super) struct RunningHandler {
    sight: Sight,
    runs: u32,
}

/// What can be seen from beside.
#[derive(Debug, Clone, Default)]
pub struct Sight(Arc<AtomicU64>);

/// One run of one handler: whoever sees the same twice saw it run all the time in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run(u64);

impl RunningHandler {
    pub(super) fn begins(&mut self, CommandIndex { kind, command }: CommandIndex) {
        // Never zero, which is "none".
        self.runs = self.runs.wrapping_add(1).max(1);
        let run = u64::from(self.runs) << 32 | u64::from(kind) << 16 | u64::from(command);
        self.sight.0.store(run, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) {
        self.sight.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn sight(&self) -> Sight {
        self.sight.clone()
    }
}

impl Sight {
    /// The handler that runs now, when one does.
    pub(crate) fn look(&self) -> Option<Run> {
        Some(self.0.load(Ordering::Relaxed)).filter(|run| *run != 0).map(Run)
    }
}

impl Run {
    /// The indices of its entity type and of its command in the registry.
    pub(crate) fn of(self) -> (u16, u16) {
        let half = |shift: u32| u16::try_from(self.0 >> shift & 0xFFFF).expect("it is masked");
        (half(16), half(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_another() {
        let mut running = RunningHandler::default();
        let sight = running.sight();
        assert_eq!(sight.look(), None);
        let index = CommandIndex { kind: 7, command: 0xFFFE };
        running.begins(index);
        let first = sight.look().unwrap();
        assert_eq!((first.of(), sight.look()), ((7, 0xFFFE), Some(first)));
        running.ends();
        assert_eq!(sight.look(), None);
        running.begins(index);
        assert_ne!(sight.look(), Some(first));
    }
}
