//! The cluster of a campaign: `holm dev` of this very program, in a directory of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use holm_console::dev::control::{Control, Request};
use holm_console::dev::state::DevStatus;
use holm_console::dev::tether;
use holm_console::output::Output;
use holm_console::state_file::RunningCluster;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::args::FaultsArgs;
use crate::hands::SystemHands;

/// Until the cluster serves and the load has opened its accounts. Unoptimised processes on a busy machine take their time.
const START: Duration = Duration::from_secs(120);

/// Until everything has ended.
const STOP: Duration = Duration::from_secs(20);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    supervisor: Child,
    control: Control,
}

impl Cluster {
    /// Starts it and waits until its load runs.
    pub(crate) async fn start(
        args: &FaultsArgs,
        hands: &mut SystemHands,
        output: Output,
    ) -> anyhow::Result<Self> {
        let dir = hands.dir().to_owned();
        let mut words: Vec<OsString> = vec!["dev".into(), "--port-base".into(), "0".into()];
        let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
        option("--nodes", args.nodes.to_string().into());
        option("--shards", args.shards.to_string().into());
        option("--load", args.load.to_string().into());
        option("--accounts", args.accounts.to_string().into());
        option("--data-dir", hands.data().into());
        if let Some(script) = hands.script() {
            option("--bin", script.into());
        }
        if args.load_http {
            words.push("--load-http".into());
        }
        if hands.wants_addresses() {
            words.push("--own-addresses".into());
        }
        let log = std::fs::File::create(dir.join("supervisor.log"))?;
        let mut command = tether::command(tether::this_program()?.as_os_str(), &words)?;
        command.env("HOLM_DEV_DIR", &dir).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let mut supervisor = command.spawn()?;
        let end = Instant::now() + START;
        let control = loop {
            if let Some(status) = supervisor.try_wait()? {
                bail!("the cluster did not start ({status}): {}", said(&dir));
            }
            if let Some(control) = serving(&dir).await {
                break control;
            }
            if Instant::now() >= end {
                bail!("the cluster did not come to serve: {}", said(&dir));
            }
            sleep(LOOK_EVERY).await;
        };
        let mut cluster = Self { dir, supervisor, control };
        cluster.wait_for_load(end).await?;
        output.progress(format_args!(
            "a cluster of {} nodes runs in {}",
            args.nodes,
            cluster.dir.display()
        ));
        Ok(cluster)
    }

    pub(crate) async fn status(&mut self) -> anyhow::Result<DevStatus> {
        self.control.status().await
    }

    pub(crate) const fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Leaves the logs where they can be read.
    pub(crate) fn keep_evidence(&self, output: Output) {
        let place =
            std::env::temp_dir().join(format!("holm-faults-evidence-{}", std::process::id()));
        let copied = std::fs::create_dir_all(&place).and_then(|()| {
            for entry in std::fs::read_dir(self.dir.join(".holm/dev"))? {
                let entry = entry?;
                if entry.file_name() != "supervisor.lock" && entry.file_type()?.is_file() {
                    std::fs::copy(entry.path(), place.join(entry.file_name()))?;
                }
            }
            for (from, name) in
                [("data/ledger.ndjson", "ledger.ndjson"), ("supervisor.log", "supervisor.log")]
            {
                let from = self.dir.join(from);
                if from.exists() {
                    std::fs::copy(from, place.join(name))?;
                }
            }
            Ok(())
        });
        match copied {
            Ok(()) => output.progress(format_args!("logs and ledger are in {}", place.display())),
            Err(error) => output.progress(format_args!("the logs could not be kept: {error}")),
        }
    }

    /// Ends it and everything that belongs to it.
    pub(crate) async fn stop(mut self) {
        let _ = self.control.ask(&Request::Stop).await;
        if tokio::time::timeout(STOP, self.supervisor.wait()).await.is_err() {
            let _ = self.supervisor.kill().await;
        }
    }

    async fn wait_for_load(&mut self, end: Instant) -> anyhow::Result<()> {
        loop {
            let status = self.control.status().await?;
            let last = status.load.as_ref().and_then(|load| load.reports.last());
            if last.is_some_and(|report| report.is_open() && report.total_answered > 0) {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("the load did not start: {}", said(&self.dir));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn serving(dir: &Path) -> Option<Control> {
    let cluster = RunningCluster::read(dir).ok().flatten()?;
    if !cluster.more.get("serving")?.as_bool()? {
        return None;
    }
    Control::connect(&cluster).await.context("no supervisor").ok()
}

fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("supervisor.log")).unwrap_or_default()
}
