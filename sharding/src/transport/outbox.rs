//! The outbox of a connection: three bounded lanes of encoded frames, and the writer that empties them in order of priority.
//!
//! Whoever sends encodes straight into the lane's buffer; the writer swaps the buffer for an empty one and writes it in one go. So many small
//! messages cost one write, and no memory is allocated per message. Before every write the earlier lanes are looked at again, so a later lane
//! holds an earlier one up by one piece at most.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holm_runtime::notify_afterwards;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::transport::Lane;
use crate::transport::frame::{
    CHUNK_BYTES, HEADER_BYTES, Kind, frame_length, put_frame, request_of,
};

const LANES: usize = Lane::ALL.len();

/// Most bytes of the commands lane that are written before the control lane is looked at again.
const PIECE_BYTES: usize = 256 * 1024;

/// A buffer that grew beyond this is given back once it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

/// The frames that wait to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: Mutex<Lanes>,
    /// Wakes the writer.
    wake: Arc<Notify>,
    /// Most bytes of each lane.
    allowed: [usize; LANES],
}

#[derive(Debug, Default)]
struct Lanes {
    waiting: [Vec<u8>; LANES],
    /// Bytes pushed and not yet written, or promised to a message that is being pushed in parts.
    queued: [usize; LANES],
    /// The writer found nothing and waits to be woken.
    idle: bool,
    closed: bool,
    /// Nothing more is taken; what waits is written, then the connection is closed.
    ending: bool,
    /// The writer is at work. Before, nobody waits for its turn, and a message is put in whole.
    begun: bool,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The lane holds `allowed` bytes.
    Full {
        /// The limit.
        allowed: usize,
    },
    /// The connection is closed.
    Closed,
}

impl Outbox {
    /// An empty outbox with a limit per lane.
    pub(crate) fn new(allowed: [usize; LANES]) -> Self {
        Self { lanes: Mutex::default(), wake: Arc::default(), allowed }
    }

    /// Queues a message, cut into frames when it is long.
    pub(crate) fn push(
        &self,
        kind: Kind,
        lane: Lane,
        correlation: u64,
        body: &[u8],
    ) -> Result<(), NotTaken> {
        self.push_wanted((kind, lane), correlation, body, || true)
    }

    /// The same, unless `is_wanted` says at that moment that nobody waits for it any more.
    pub(crate) fn push_wanted(
        &self,
        (kind, lane): (Kind, Lane),
        correlation: u64,
        body: &[u8],
        is_wanted: impl FnOnce() -> bool,
    ) -> Result<(), NotTaken> {
        let parts = body.len().div_ceil(CHUNK_BYTES).max(1);
        let bytes = body.len() + parts * HEADER_BYTES;
        let at = lane as usize;
        let mut lanes = self.lock();
        if lanes.closed || lanes.ending {
            return Err(NotTaken::Closed);
        }
        if lanes.queued[at] + bytes > self.allowed[at] {
            return Err(NotTaken::Full { allowed: self.allowed[at] });
        }
        if !is_wanted() {
            return Ok(());
        }
        lanes.queued[at] += bytes;
        if parts == 1 {
            put_frame(&mut lanes.waiting[at], (kind, lane, false), correlation, body);
            self.wake_writer(&mut lanes);
            return Ok(());
        }
        if !lanes.begun {
            for (number, part) in body.chunks(CHUNK_BYTES).enumerate() {
                let more = number + 1 < parts;
                put_frame(&mut lanes.waiting[at], (kind, lane, more), correlation, part);
            }
            return Ok(());
        }
        drop(lanes);
        // The lock is taken for each part anew: copying a long message must not hold up the other lanes.
        for (number, part) in body.chunks(CHUNK_BYTES).enumerate() {
            let mut lanes = self.lock();
            let more = number + 1 < parts;
            put_frame(&mut lanes.waiting[at], (kind, lane, more), correlation, part);
            self.wake_writer(&mut lanes);
        }
        Ok(())
    }

    /// Takes requests out that nobody waits for any more. Called before the writer begins.
    pub(crate) fn forget_requests(&self, is_wanted: impl Fn(u64) -> bool) {
        let mut lanes = self.lock();
        let Lanes { waiting, queued, .. } = &mut *lanes;
        for (frames, queued) in waiting.iter_mut().zip(queued) {
            let mut kept = Vec::with_capacity(frames.len());
            let mut rest = &frames[..];
            while !rest.is_empty() {
                let (frame, behind) = rest.split_at(frame_length(rest));
                if request_of(frame).is_none_or(&is_wanted) {
                    kept.extend_from_slice(frame);
                }
                rest = behind;
            }
            *queued -= frames.len() - kept.len();
            *frames = kept;
        }
    }

    /// Bytes of each lane that were not written yet.
    pub(crate) fn unsent(&self) -> [usize; LANES] {
        self.lock().queued
    }

    /// Nothing more is taken and nothing more is written.
    pub(crate) fn close(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        lanes.waiting = Default::default();
        drop(lanes);
        self.wake.notify_one();
    }

    /// Nothing more is taken; the writer ends when what waits is written.
    pub(crate) fn end(&self) {
        self.lock().ending = true;
        self.wake.notify_one();
    }

    /// True once nothing is taken any more.
    pub(crate) fn is_closed(&self) -> bool {
        let lanes = self.lock();
        lanes.closed || lanes.ending
    }

    /// Writes what is pushed until the outbox is closed or a write fails or makes no progress for `stall`.
    pub(crate) async fn drain_into(
        &self,
        mut sink: impl AsyncWrite + Unpin,
        stall: Duration,
    ) -> io::Result<()> {
        let mut sheets: [Sheet; LANES] = Default::default();
        self.lock().begun = true;
        loop {
            let Some(ready) = self.refill(&mut sheets) else {
                // A peer that reads until the end gets everything that was written.
                return sink.shutdown().await;
            };
            if !ready {
                self.wake.notified().await;
                // Who else is ready on this thread says something too, perhaps, and all of it is one write.
                tokio::task::yield_now().await;
                continue;
            }
            let (lane, piece) = next_piece(&mut sheets);
            let length = piece.len();
            match tokio::time::timeout(stall, sink.write_all(piece)).await {
                Ok(written) => written?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
            sheets[lane].at += length;
            sheets[lane].written += length;
        }
    }

    /// Takes over what was pushed since the last call; none when the writer should end, false when there is nothing to write.
    fn refill(&self, sheets: &mut [Sheet; LANES]) -> Option<bool> {
        let mut lanes = self.lock();
        if lanes.closed {
            return None;
        }
        let mut ready = false;
        for (at, sheet) in sheets.iter_mut().enumerate() {
            lanes.queued[at] -= std::mem::take(&mut sheet.written);
            if sheet.rest().is_empty() {
                sheet.clear();
                std::mem::swap(&mut sheet.bytes, &mut lanes.waiting[at]);
            }
            ready |= !sheet.rest().is_empty();
        }
        if !ready && lanes.ending {
            return None;
        }
        lanes.idle = !ready;
        Some(ready)
    }

    fn wake_writer(&self, lanes: &mut Lanes) {
        // Whoever answers on an arbiter wakes it a little later; until then it may be woken by others.
        if !lanes.idle {
            return;
        }
        if lanes.queued.iter().any(|queued| *queued > PIECE_BYTES) {
            // Enough for a write of its own, and the lane must not fill up before the writer begins.
            self.wake.notify_one();
            lanes.idle = false;
        } else if notify_afterwards(&self.wake) {
            lanes.idle = false;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lanes> {
        // No code that can panic runs under this lock half way through a change.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames that the writer has taken over.
#[derive(Debug, Default)]
struct Sheet {
    bytes: Vec<u8>,
    at: usize,
    /// Written since the lane was last told.
    written: usize,
}

impl Sheet {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn clear(&mut self) {
        self.at = 0;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

/// Whole frames of the first lane that has any: so many that the lane before it never waits long.
fn next_piece(sheets: &mut [Sheet; LANES]) -> (usize, &[u8]) {
    let at = sheets.iter().position(|sheet| !sheet.rest().is_empty()).unwrap_or(0);
    let rest = sheets[at].rest();
    let most = if at == Lane::Bulk as usize { 1 } else { PIECE_BYTES };
    if rest.len() <= most {
        return (at, rest);
    }
    let mut end = frame_length(rest);
    while end < most {
        end += frame_length(&rest[end..]);
    }
    (at, &rest[..end])
}

#[cfg(test)]
#[path = "outbox/tests.rs"]
mod tests;
