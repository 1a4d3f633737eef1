//! The seat of a shard: what the threads outside its arbiter may see and do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use actix::Addr;
use actix::dev::SendError;
use holm_core::ShardId;
use tokio::sync::mpsc::UnboundedSender;

use super::actor::{Deliver, DeliverAll, ShardActor};
use super::leadership::Input;
use crate::engine::{Run, Sight};
use crate::options::ShardStats;

/// One shard as the host sees it.
pub(crate) struct Seat {
    pub(crate) mailbox: Addr<ShardActor>,
    /// Everything but commands: bounded by its senders, so that a full mailbox never keeps it out.
    pub(crate) inputs: UnboundedSender<Input>,
    pub(crate) board: std::sync::Arc<Board>,
}

/// Commands that the mailbox did not take.
pub(crate) enum NotTaken {
    Full(Vec<Deliver>),
    /// The node stops.
    Closed(Vec<Deliver>),
}

impl Seat {
    /// Puts commands into the mailbox together, which [`Board::admit`] admitted; those that are not taken are counted out again.
    pub(crate) fn deliver_all(&self, commands: Vec<Deliver>) -> Result<(), NotTaken> {
        let number = commands.len();
        self.mailbox.try_send(DeliverAll(commands)).map_err(|error| {
            self.board.taken(number);
            match error {
                SendError::Full(DeliverAll(commands)) => NotTaken::Full(commands),
                SendError::Closed(DeliverAll(commands)) => NotTaken::Closed(commands),
            }
        })
    }
}

/// Where the actor writes and others read.
#[derive(Debug)]
pub(crate) struct Board {
    standing: AtomicU8,
    /// Commands in the mailbox that came together with others; each message there holds several.
    together: AtomicUsize,
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
            together: AtomicUsize::new(0),
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

    /// How many of `wanted` commands may go into the mailbox together, where `allowed` may be at once; they are counted in.
    pub(crate) fn admit(&self, wanted: usize, allowed: usize) -> usize {
        let before = self.together.fetch_add(wanted, Ordering::Relaxed);
        let admitted = allowed.saturating_sub(before).min(wanted);
        self.together.fetch_sub(wanted - admitted, Ordering::Relaxed);
        admitted
    }

    /// So many of them were taken out.
    pub(crate) fn taken(&self, commands: usize) {
        self.together.fetch_sub(commands, Ordering::Relaxed);
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
