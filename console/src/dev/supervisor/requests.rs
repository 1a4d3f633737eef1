//! What others ask of the supervisor.

use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::{Supervisor, start};
use crate::dev::control::{Request, Response};
use crate::dev::ports;
use crate::dev::process::{is_alive, signal_group};
use crate::dev::state::ProcessState;
use crate::wall_clock::now_us;

/// Whether the loop goes on.
pub(super) enum Next {
    GoOn,
    Stop,
}

/// Most nodes that one local cluster may have.
const MOST_NODES: usize = 64;

impl Supervisor {
    pub(super) fn take_request(
        &mut self,
        request: Request,
        answer: oneshot::Sender<Response>,
    ) -> Next {
        let response = match request {
            Request::Status => Response::Status(Box::new(self.status())),
            Request::Stop => {
                let _ = answer.send(Response::Stopping);
                return Next::Stop;
            }
            Request::Kill { node, graceful } => self.on_node(&node, |it, at| it.kill(at, graceful)),
            Request::Pause { node } => self.on_node(&node, Self::pause),
            Request::Resume { node } => self.on_node(&node, Self::resume),
            Request::Left { node } => self.on_node(&node, Self::note_left),
            Request::Restart { node } => {
                self.restart(&node, answer);
                return Next::GoOn;
            }
            Request::Join => {
                self.join(answer);
                return Next::GoOn;
            }
        };
        self.write_state();
        let _ = answer.send(response);
        Next::GoOn
    }

    fn on_node(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Self, usize) -> Result<u64, String>,
    ) -> Response {
        let done = self.find(name).and_then(|index| Ok((index, act(self, index)?)));
        match done {
            Ok((index, at_us)) => {
                Response::Done { node: Box::new(self.nodes[index].status.clone()), at_us }
            }
            Err(reason) => Response::Refused { reason },
        }
    }

    fn find(&self, name: &str) -> Result<usize, String> {
        self.nodes.iter().position(|node| node.status.node.name == name).ok_or_else(|| {
            let known: Vec<_> = self.nodes.iter().map(|it| it.status.node.name.as_str()).collect();
            format!("there is no node `{name}`; there are {}", known.join(", "))
        })
    }

    fn kill(&mut self, index: usize, graceful: bool) -> Result<u64, String> {
        self.signal(
            index,
            if graceful { Signal::SIGTERM } else { Signal::SIGKILL },
            ProcessState::Killed,
        )
    }

    fn pause(&mut self, index: usize) -> Result<u64, String> {
        self.signal(index, Signal::SIGSTOP, ProcessState::Paused)
    }

    fn resume(&mut self, index: usize) -> Result<u64, String> {
        self.signal(index, Signal::SIGCONT, ProcessState::Up)
    }

    /// The node was told to leave over its own HTTP; what ends it is intended from now on.
    fn note_left(&mut self, index: usize) -> Result<u64, String> {
        self.nodes[index].status.state = ProcessState::Left;
        Ok(now_us())
    }

    fn signal(&mut self, index: usize, signal: Signal, then: ProcessState) -> Result<u64, String> {
        let status = &mut self.nodes[index].status;
        if status.node.pid == 0 {
            return Err(format!("{} is not running", status.node.name));
        }
        let at_us = now_us();
        signal_group(status.node.pid, signal)
            .map_err(|error| format!("{} cannot be signalled: {error}", status.node.name))?;
        if signal == Signal::SIGTERM && status.state == ProcessState::Paused {
            // A stopped process would never see it.
            let _ = signal_group(status.node.pid, Signal::SIGCONT);
        }
        status.state = then;
        Ok(at_us)
    }

    fn restart(&mut self, name: &str, answer: oneshot::Sender<Response>) {
        let index = match self.find(name) {
            Ok(index) => index,
            Err(reason) => {
                let _ = answer.send(Response::Refused { reason });
                return;
            }
        };
        if self.nodes[index].status.node.pid == 0 {
            self.restart_now(index, answer);
            return;
        }
        // It must have ended and given back its ports and its data before it can be started again.
        // Who has ended a moment ago cannot be signalled any more, and is started when its end is heard of, which is next.
        let pid = self.nodes[index].status.node.pid;
        if let Err(reason) = self.kill(index, false)
            && is_alive(pid)
        {
            let _ = answer.send(Response::Refused { reason });
            return;
        }
        self.nodes[index].status.state = ProcessState::Killed;
        self.nodes[index].restart = Some(answer);
    }

    fn join(&mut self, answer: oneshot::Sender<Response>) {
        if self.nodes.len() >= MOST_NODES {
            let reason = format!("a local cluster has at most {MOST_NODES} nodes");
            let _ = answer.send(Response::Refused { reason });
            return;
        }
        let taken: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|node| [node.ports.http.port(), node.ports.peer.port()])
            .collect();
        let base = if self.args.port_base == Some(0) {
            0
        } else {
            taken.iter().step_by(2).max().map_or(0, |highest| highest.saturating_add(10))
        };
        let plan = match ports::plan(base, 1, &taken) {
            Ok(plan) => plan,
            Err(error) => {
                let _ = answer.send(Response::Refused { reason: error.to_string() });
                return;
            }
        };
        let number = u32::try_from(self.nodes.len() + 1).unwrap_or(u32::MAX);
        let ports = start::own_address(&self.args, number, plan.nodes[0]);
        self.nodes.push(start::described(&self.paths, number, ports));
        self.restart_now(self.nodes.len() - 1, answer);
    }
}
