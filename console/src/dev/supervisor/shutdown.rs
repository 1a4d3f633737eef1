//! The end: every process is ended and reaped, every file that nobody needs any more is deleted.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Inputs, Supervisor};
use crate::dev::process::{ChildEvent, signal_group};

/// Time for the load generator to write its ledger out, and for nodes with data worth keeping to end by themselves.
const GRACE: Duration = Duration::from_secs(5);

/// Time for the kernel to end what was sent SIGKILL; more than enough, and bounded all the same.
const REAP: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) async fn shut_down(&mut self, inputs: &mut Inputs) {
        self.screen.stopping();
        if self.load.pid != 0 {
            let _ = signal_group(self.load.pid, Signal::SIGTERM);
            self.reap(inputs, GRACE, |it| it.load.pid == 0).await;
        }
        if !self.data.is_temporary() {
            self.signal_all(Signal::SIGTERM);
            self.signal_all(Signal::SIGCONT);
            self.reap(inputs, GRACE, Self::all_ended).await;
        }
        self.signal_all(Signal::SIGKILL);
        if self.load.pid != 0 {
            let _ = signal_group(self.load.pid, Signal::SIGKILL);
        }
        self.reap(inputs, REAP, |it| it.load.pid == 0 && it.all_ended()).await;
        if let Err(error) = self.data.discard() {
            self.screen.warn(&format!("{} cannot be deleted: {error}", self.data.path().display()));
        }
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(self.paths.state_file());
        self.screen.stopped(self.data.is_temporary(), self.data.path());
    }

    fn signal_all(&self, signal: Signal) {
        for node in &self.nodes {
            if node.status.node.pid != 0 {
                let _ = signal_group(node.status.node.pid, signal);
            }
        }
    }

    fn all_ended(&self) -> bool {
        self.nodes.iter().all(|node| node.status.node.pid == 0)
    }

    async fn reap(&mut self, inputs: &mut Inputs, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + limit;
        while !done(self) {
            let Ok(Some(event)) = tokio::time::timeout_at(end, inputs.children.recv()).await else {
                return;
            };
            let ChildEvent::Ended { name, pid, .. } = event else { continue };
            if name == super::LOAD && self.load.pid == pid {
                self.load.pid = 0;
            }
            for node in &mut self.nodes {
                if node.status.node.name == name && node.status.node.pid == pid {
                    node.status.node.pid = 0;
                }
            }
        }
    }
}
