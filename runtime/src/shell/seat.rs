//! The seat of a shard: what the threads outside its arbiter may see and do.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use holm_core::ShardId;

use super::intake::Intake;
use crate::ask::slip::Slips;
use crate::engine::{Run, Sight};
use crate::options::ShardStats;

/// One shard as the host sees it.
pub(crate) struct Seat {
    pub(crate) intake: Arc<Intake>,
    pub(crate) board: Arc<Board>,
    /// Where the answers to callers in this process go.
    pub(crate) slips: Arc<Slips>,
}

/// Where the actor writes and others read.
#[derive(Debug)]
pub(crate) struct Board {
    standing: AtomicU8,
    /// Commands that found the mailbox full, since that was last looked at.
    overflowed: AtomicU64,
    stats: Mutex<ShardStats>,
    /// Of the present engine, or the last.
    sight: Mutex<Sight>,
}

/// Whether a shard is led here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Somebody else's, as far as this node knows.
    Away = 0,
    /// On the way to being led here, or here again after a failed write.
    Opening = 1,
    /// Led here.
    Leading = 2,
}

impl Board {
    pub(crate) fn new(shard: ShardId) -> Self {
        let stats = ShardStats { shard, ..ShardStats::default() };
        Self {
            standing: AtomicU8::new(Standing::Away as u8),
            overflowed: AtomicU64::new(0),
            stats: Mutex::new(stats),
            sight: Mutex::default(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            2 => Standing::Leading,
            1 => Standing::Opening,
            _ => Standing::Away,
        }
    }

    pub(crate) fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// A command found the mailbox full.
    pub(crate) fn overflowed(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many commands found the mailbox full since this was last asked.
    pub(crate) fn take_overflowed(&self) -> u64 {
        match self.overflowed.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.overflowed.swap(0, Ordering::Relaxed),
        }
    }

    pub(crate) fn stats(&self) -> ShardStats {
        *self.stats.lock().expect("nobody panics while holding it")
    }

    /// Another engine begins.
    pub(crate) fn show(&self, sight: Sight) {
        *self.sight.lock().expect("nobody panics while holding it") = sight;
    }

    /// The handler that runs now, when one does.
    pub(crate) fn running(&self) -> Option<Run> {
        self.sight.lock().expect("nobody panics while holding it").look()
    }

    pub(crate) fn publish(&self, stats: ShardStats) {
        *self.stats.lock().expect("nobody panics while holding it") = stats;
    }
}
