//! What does the harm, and takes it back.

use std::future::Future;

use super::fault::{FaultKind, Shape};
use crate::dev::control::{Control, Request};
use crate::dev::state::NodeStatus;
use crate::wall_clock::now_us;

/// A fault that was done.
#[derive(Debug, Clone, Copy)]
pub struct Inflicted {
    /// When, in microseconds since the epoch.
    pub at_us: u64,
    /// The nodes that it hit must not acknowledge a write that was sent after this, until they are started again.
    pub silent_after_us: Option<u64>,
}

impl Inflicted {
    /// Done now.
    #[must_use]
    pub fn now() -> Self {
        Self { at_us: now_us(), silent_after_us: None }
    }
}

/// Carries out faults.
pub trait Hands {
    /// Why a fault cannot be had here, for instance because a tool or the right to use it is missing. `None`: it can.
    fn lacks(&self, shape: Shape) -> Option<String>;

    /// Does it to these nodes.
    fn inflict(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> impl Future<Output = anyhow::Result<Inflicted>>;

    /// What must be true of these nodes while the fault lasts and is not. Asked once, before it is taken back.
    fn examine(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> impl Future<Output = anyhow::Result<Vec<String>>>;

    /// Takes it back; the nodes run again when this returns, or are starting.
    fn heal(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> impl Future<Output = anyhow::Result<()>>;
}

/// The hands of a supervisor's owner: signals.
#[derive(Debug, Default)]
pub struct ProcessHands;

impl Hands for ProcessHands {
    fn lacks(&self, shape: Shape) -> Option<String> {
        match shape.kind() {
            FaultKind::Kill | FaultKind::Pause => None,
            kind => {
                Some(format!("{kind} needs root and tools of the system: cargo xtask chaos has it"))
            }
        }
    }

    async fn inflict(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> anyhow::Result<Inflicted> {
        let mut first = None;
        for victim in victims {
            let node = victim.node.name.clone();
            let request = match shape.kind() {
                FaultKind::Pause => Request::Pause { node },
                _ => Request::Kill { node, graceful: false },
            };
            let (_, at_us) = control.act(&request).await?;
            first.get_or_insert(at_us);
        }
        Ok(Inflicted { at_us: first.unwrap_or_else(now_us), silent_after_us: None })
    }

    async fn examine(
        &mut self,
        _: Shape,
        _: &[NodeStatus],
        _: &mut Control,
    ) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn heal(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> anyhow::Result<()> {
        for victim in victims {
            let node = victim.node.name.clone();
            let request = match shape.kind() {
                FaultKind::Pause => Request::Resume { node },
                _ => Request::Restart { node },
            };
            control.act(&request).await?;
        }
        Ok(())
    }
}
