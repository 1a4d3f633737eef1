//! Whoever looks after a machine: starts a process again that ended, ends one whose disk failed, and replaces a disk that cannot be trusted.

use std::time::Duration;

use holm_persistence::{Crash, Damage};

use super::{Machine, Wanted};
use crate::sometimes::Situation;
use crate::world::network::Wires;
use crate::world::process::{Ended, Process};
use crate::world::trace::Trace;

/// Pause before a process that ended by itself is started again.
const START_AGAIN: Duration = Duration::from_millis(500);

/// How long a process whose disk failed goes on before it is started again, as by somebody who watches.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// What a node is told that has left while it was down.
const HAS_LEFT: &str = "has left the cluster";

impl Machine {
    /// The process ended by itself.
    pub(super) fn note_end(&mut self, ended: Ended, now: Duration, wires: &Wires, trace: &Trace) {
        trace.note(format_args!("# {} ended: {ended:?}", self.name));
        self.process = None;
        let aftermath = self.disk.crash(Crash::Killed);
        self.met.met_times(Situation::PagesDropped, aftermath.dropped.into());
        wires.end_process(self.host);
        match ended {
            Ended::Stopped if self.wanted == Wanted::Running => {
                self.start_at = Some(now + START_AGAIN);
            }
            Ended::Stopped => {}
            Ended::Left => self.wanted = Wanted::Gone,
            Ended::StillHere(_) | Ended::NotStarted(_) => {
                // It was leaving when it went down, and the others saw it through: it may come anew, as the error says.
                let left = matches!(&ended, Ended::NotStarted(why) if why.contains(HAS_LEFT));
                if self.suspect || left {
                    self.damage(Damage::Wiped, trace);
                }
                self.wanted = Wanted::Running;
                self.start_at = Some(now + START_AGAIN);
            }
            Ended::Unusable(error) => {
                if error.is_disk_full() {
                    self.met.met(Situation::DiskFull);
                } else {
                    // As an operator does: a disk that cannot be trusted is replaced, and the node comes back under another id.
                    self.damage(Damage::Wiped, trace);
                }
                self.start_at = Some(now + START_AGAIN);
            }
        }
    }

    pub(super) fn look_at_disk(&mut self, now: Duration, wires: &Wires, trace: &Trace) {
        if !now.subsec_millis().is_multiple_of(100) {
            return;
        }
        let failure = self.process.as_ref().and_then(Process::disk_failure);
        let Some(error) = failure else {
            self.failing_since = None;
            return;
        };
        if self.failing_since.is_none() {
            let full = error.is_disk_full();
            self.met.met(if full { Situation::DiskFull } else { Situation::SyncFailed });
        }
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= DISK_PATIENCE {
            trace.note(format_args!("# {} is started again: {error}", self.name));
            self.crash(Crash::Killed, wires, trace);
            self.wanted = Wanted::Running;
            self.start_at = Some(now + START_AGAIN);
        }
    }

    /// Whoever looks after it mends it: a damaged disk is replaced, and a process runs.
    pub(in crate::world) fn mend(&mut self, now: Duration, wires: &Wires, trace: &Trace) {
        self.resume(trace);
        self.disk.set_full(false);
        self.disk.fail_syncs(0);
        self.speed.set(None);
        self.clock.set_ahead(0);
        if self.wanted == Wanted::Gone {
            return;
        }
        if self.suspect {
            self.crash(Crash::Killed, wires, trace);
            self.damage(Damage::Wiped, trace);
        }
        self.wanted = Wanted::Running;
        if self.process.is_none() {
            self.start_at = Some(now);
        }
    }
}
