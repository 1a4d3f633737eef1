//! The senders: they start the transfers in the order of the plan, but only so many as the campaign allows by then, so that some are under way at every harm.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::PATIENCE;
use super::bank::{self, AT_ONCE, Bank};
use super::plan::Plan;
use crate::wall_clock::now_us;

/// What is allowed, and what was done of it.
pub(super) struct Starts {
    leave: watch::Sender<Leave>,
    /// How many were asked for so far.
    asked: watch::Sender<usize>,
    record: Mutex<Record>,
}

/// How many transfers may be started.
#[derive(Debug, Clone, Copy, Default)]
struct Leave {
    up_to: usize,
    /// No more will be allowed.
    is_last: bool,
}

/// What was asked for, and what the nodes said.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// By number; none for one that was never asked for.
    pub(super) starts: Vec<Option<Asked>>,
    /// Accounts that were closed, each with what the nodes said.
    pub(super) closings: Vec<(u32, Result<(), String>)>,
}

/// A start that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// When, in microseconds since the epoch.
    pub(super) at_us: u64,
    /// None as long as nobody answered.
    pub(super) told: Option<Result<(), String>>,
}

impl Starts {
    pub(super) fn new(count: usize) -> Self {
        let record = Record { starts: vec![None; count], closings: Vec::new() };
        Self {
            leave: watch::Sender::default(),
            asked: watch::Sender::default(),
            record: Mutex::new(record),
        }
    }

    /// Starts what is allowed, each acknowledged before its sender goes on, until no more will be allowed.
    pub(super) async fn send(&self, bank: &Bank, plan: &Plan) {
        bank.each(plan.transfers.len(), PATIENCE, async |nth, nodes| {
            let mut leave = self.leave.subscribe();
            let leave = leave.wait_for(|leave| leave.is_last || nth < leave.up_to).await;
            if !leave.is_ok_and(|leave| nth < leave.up_to) {
                return;
            }
            if let Some(account) = plan.transfers[nth].closes {
                let closed = bank::close(plan, account, nodes).await;
                self.record().closings.push((account, closed));
            }
            self.record().starts[nth] = Some(Asked { at_us: now_us(), told: None });
            self.asked.send_modify(|asked| *asked += 1);
            let told = bank::start(plan, nth, nodes).await;
            if let Some(asked) = &mut self.record().starts[nth] {
                asked.told = Some(told);
            }
        })
        .await;
    }

    /// Allows them up to this one.
    pub(super) fn allow(&self, up_to: usize) {
        self.leave.send_modify(|leave| leave.up_to = up_to);
    }

    /// Allows them up to this one, and returns when the senders are at it, each of them if there is enough to do.
    pub(super) async fn allow_and_see(&self, up_to: usize) {
        let mut asked = self.asked.subscribe();
        let busy = up_to.min(*asked.borrow_and_update() + AT_ONCE);
        self.allow(up_to);
        // The sender of it lives as long as we do.
        let _ = asked.wait_for(|asked| *asked >= busy).await;
    }

    /// Allows the rest, and no more will come.
    pub(super) fn allow_all(&self) {
        let up_to = self.record().starts.len();
        self.leave.send_replace(Leave { up_to, is_last: true });
    }

    /// Nothing is started any more.
    pub(super) fn allow_no_more(&self) {
        self.leave.send_replace(Leave { up_to: 0, is_last: true });
    }

    /// What was done so far.
    pub(super) fn so_far(&self) -> Record {
        self.record().clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
