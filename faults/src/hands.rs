//! The hands of root: everything that a campaign can do to nodes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use holm_console::api_client::{ApiClient, ClientOptions};
use holm_console::dev::control::{Control, Request};
use holm_console::dev::state::{DevStatus, NodeStatus};
use holm_console::timeline::chaos::{FaultKind, Hands, Inflicted, ProcessHands, Shape, schedule};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::args::FaultsArgs;
use crate::clock::Clocks;
use crate::disks::Disks;
use crate::network::Network;
use crate::processor::Quota;
use crate::syscalls::{self, Attached, Injection};

/// Until a killed process is gone.
const GONE: Duration = Duration::from_secs(10);

/// Until a node has met the end of its disk. The database grows by half a megabyte at a time, which at the lowest loads lasts for some ten seconds.
const NOTICED: Duration = Duration::from_secs(40);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What each sync of a slow disk takes longer.
const SLOW_SYNC: Duration = Duration::from_millis(200);

/// What can be done, and what is being done.
#[derive(Debug)]
pub(crate) struct SystemHands {
    dir: PathBuf,
    processes: ProcessHands,
    network: Option<Network>,
    disks: Option<Disks>,
    clocks: Option<Clocks>,
    script: Option<PathBuf>,
    attached: Option<Attached>,
    quota: Option<Quota>,
    /// Deleted last, when no disk is mounted below it any more; none when the directory was named and stays.
    _temporary: Option<TempDir>,
}

impl SystemHands {
    /// Makes what the wished faults need and the system allows: disks, clocks, rules.
    pub(crate) fn prepare(args: &FaultsArgs, seed: u64) -> anyhow::Result<Self> {
        let temporary = match &args.dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                None
            }
            None => Some(TempDir::with_prefix("holm-faults-")?),
        };
        let dir = match (&args.dir, &temporary) {
            (Some(dir), _) => std::path::absolute(dir)?,
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => bail!("there is no directory"),
        };
        let planned = schedule(0, &args.chaos.faults, args.chaos.rounds, args.nodes);
        let wished = |kind| planned.iter().any(|round| round.shape.kind() == kind);
        let mut hands = Self {
            _temporary: temporary,
            dir,
            processes: ProcessHands,
            network: None,
            disks: None,
            clocks: None,
            script: None,
            attached: None,
            quota: None,
        };
        if (wished(FaultKind::Power) || wished(FaultKind::Full)) && Disks::lacks().is_none() {
            let disks = Disks::make(&hands.dir, &hands.data(), args.nodes, args.disk_mib);
            hands.disks = Some(disks.context("no disks could be made")?);
        }
        if wished(FaultKind::Clock) && Clocks::lacks().is_none() {
            let (clocks, script) = Clocks::make(&hands.dir, args.nodes)?;
            (hands.clocks, hands.script) = (Some(clocks), Some(script));
        }
        let delayed = planned.iter().any(|round| round.shape == Shape::SlowNetwork);
        if (delayed || wished(FaultKind::Partition)) && Network::lacks().is_none() {
            hands.network = Some(Network::new(seed));
        }
        Ok(hands)
    }

    /// Gets to know the nodes that run.
    pub(crate) fn meet(&mut self, status: &DevStatus) {
        if let Some(network) = &mut self.network {
            network.meet(status);
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn script(&self) -> Option<&Path> {
        self.script.as_deref()
    }

    pub(crate) const fn wants_addresses(&self) -> bool {
        self.network.is_some()
    }

    async fn lose_power(
        &self,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> anyhow::Result<Inflicted> {
        let disks = self.disks.as_ref().context("there are no disks")?;
        let names: Vec<_> = victims.iter().map(|victim| victim.node.name.clone()).collect();
        let done = kill_all(&names, control).await?;
        disks.lose_power(&names).await?;
        Ok(done)
    }

    async fn fail_a_sync(&mut self, victim: &NodeStatus) -> anyhow::Result<Inflicted> {
        let log = self.dir.join(format!("strace-{}", victim.node.name));
        let mut attached = Attached::to(victim.node.pid, Injection::FailOnce, &log)?;
        let at_us = attached.injected().await?;
        // It detaches now: every later sync succeeds again, which is what makes a node that goes on dangerous.
        drop(attached);
        Ok(Inflicted { at_us, silent_after_us: Some(at_us) })
    }

    async fn slow_down(&mut self, victim: &NodeStatus) -> anyhow::Result<Inflicted> {
        let log = self.dir.join(format!("strace-{}", victim.node.name));
        let mut attached = Attached::to(victim.node.pid, Injection::Delay(SLOW_SYNC), &log)?;
        let at_us = attached.injected().await?;
        self.attached = Some(attached);
        Ok(Inflicted { at_us, silent_after_us: None })
    }
}

impl Hands for SystemHands {
    fn lacks(&self, shape: Shape) -> Option<String> {
        match shape {
            Shape::SlowProcessor => Quota::lacks(),
            Shape::SlowDisk => syscalls::lacks(),
            Shape::SlowNetwork => Network::lacks_detours(),
            _ => match shape.kind() {
                FaultKind::Kill | FaultKind::Pause => None,
                FaultKind::Partition => Network::lacks(),
                FaultKind::Power | FaultKind::Full => Disks::lacks(),
                FaultKind::Eio | FaultKind::Slow => syscalls::lacks(),
                FaultKind::Clock => Clocks::lacks(),
            },
        }
    }

    async fn inflict(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> anyhow::Result<Inflicted> {
        let victim = victims.first().context("there is no victim")?;
        let name = &victim.node.name;
        match shape {
            Shape::ClockAhead | Shape::ClockBack => {
                let offset = if shape == Shape::ClockAhead { "+1h" } else { "-1h" };
                self.clocks.as_ref().context("there are no clocks")?.set(name, offset)?;
            }
            Shape::SlowProcessor => self.quota = Some(Quota::of(victim.node.pid)?),
            Shape::SlowDisk => return self.slow_down(victim).await,
            Shape::SlowNetwork => {
                self.network.as_mut().context("there are no rules")?.delay(victims)?;
            }
            _ => match shape.kind() {
                FaultKind::Partition => {
                    self.network.as_mut().context("there are no rules")?.cut(shape, victims)?;
                }
                FaultKind::Power => return self.lose_power(victims, control).await,
                FaultKind::Full => {
                    self.disks.as_ref().context("there are no disks")?.fill(name)?;
                }
                FaultKind::Eio => return self.fail_a_sync(victim).await,
                _ => return self.processes.inflict(shape, victims, control).await,
            },
        }
        Ok(Inflicted::now())
    }

    async fn examine(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        _: &mut Control,
    ) -> anyhow::Result<Vec<String>> {
        if shape == Shape::SlowNetwork && self.network.as_ref().is_none_or(|it| it.delayed() == 0) {
            bail!("nothing was delayed: no connection between nodes was led through the proxy");
        }
        let mut problems = Vec::new();
        if matches!(shape.kind(), FaultKind::Full | FaultKind::Eio) {
            for victim in victims {
                if !says_that_it_cannot(victim).await? {
                    problems.push(format!("{} still says that it is ready", victim.node.name));
                }
            }
        }
        Ok(problems)
    }

    async fn heal(
        &mut self,
        shape: Shape,
        victims: &[NodeStatus],
        control: &mut Control,
    ) -> anyhow::Result<()> {
        let names: Vec<_> = victims.iter().map(|victim| victim.node.name.clone()).collect();
        match shape.kind() {
            FaultKind::Partition => self.network.as_mut().context("there are no rules")?.heal()?,
            FaultKind::Clock => {
                for name in &names {
                    self.clocks.as_ref().context("there are no clocks")?.set(name, "+0")?;
                }
            }
            FaultKind::Slow => {
                (self.attached, self.quota) = (None, None);
                if shape == Shape::SlowNetwork {
                    self.network.as_mut().context("there are no rules")?.heal()?;
                }
            }
            FaultKind::Full => {
                for name in &names {
                    self.disks.as_ref().context("there are no disks")?.free(name)?;
                }
                restart(&names, control).await?;
            }
            FaultKind::Eio | FaultKind::Power => restart(&names, control).await?,
            _ => self.processes.heal(shape, victims, control).await?,
        }
        Ok(())
    }
}

/// Waits until a node that cannot write says so. A full disk hurts only when the database needs its next segment, which may take a while.
async fn says_that_it_cannot(victim: &NodeStatus) -> anyhow::Result<bool> {
    let client = ApiClient::new(&victim.node.http, ClientOptions::default())?;
    let end = Instant::now() + NOTICED;
    while client.ready().await.unwrap_or(false) {
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

async fn kill_all(names: &[String], control: &mut Control) -> anyhow::Result<Inflicted> {
    let mut first = None;
    for node in names {
        let request = Request::Kill { node: node.clone(), graceful: false };
        let (_, at_us) = control.act(&request).await?;
        first.get_or_insert(at_us);
    }
    let end = Instant::now() + GONE;
    loop {
        let status = control.status().await?;
        if names.iter().all(|name| status.node(name).is_some_and(|it| it.node.pid == 0)) {
            break;
        }
        if Instant::now() >= end {
            bail!("a killed process is still there after {} s", GONE.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(Inflicted { at_us: first.context("nobody was killed")?, silent_after_us: None })
}

async fn restart(names: &[String], control: &mut Control) -> anyhow::Result<()> {
    for node in names {
        control.act(&Request::Restart { node: node.clone() }).await?;
    }
    Ok(())
}
