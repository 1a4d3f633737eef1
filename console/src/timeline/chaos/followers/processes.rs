//! The readers as processes: started, killed, stopped and woken up by a campaign, and asked what they saw when it is over.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::judge::{FollowersDocument, Life, Logs, judge_members, judge_view};
use super::sights::{Sight, of_life, of_view, positions};
use crate::dev::process::{random, signal_group};
use crate::dev::state::DevStatus;
use crate::dev::tether;
use crate::ledger::RecordSource;
use crate::timeline::chaos::fault::FaultKind;

/// How long the readers may take to see what was there when the last round was over.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Between two looks at how far they are.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Entities of Holm's own, of which nobody is told who asks for everything.
const OURS: &str = "holm-";

/// The readers of one campaign.
#[derive(Debug)]
pub(in crate::timeline::chaos) struct Followers {
    dir: TempDir,
    cluster: String,
    seeds: String,
    readers: Vec<Reader>,
    asleep: Option<usize>,
    document: FollowersDocument,
}

#[derive(Debug)]
struct Reader {
    kind: &'static str,
    name: String,
    child: Child,
}

impl Followers {
    /// Starts them.
    pub(in crate::timeline::chaos) fn start(status: &DevStatus) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("holm-followers-").tempdir()?;
        // Each campaign has a subscription of its own, which begins at the beginning.
        let group = format!("chaos-{:08x}", random() & 0xFFFF_FFFF);
        let (cluster, seeds) = (status.cluster.clone(), status.seeds().join(","));
        let mut readers = Vec::new();
        for (kind, name) in [
            ("view", "view".to_owned()),
            ("member", format!("{group}.a")),
            ("member", format!("{group}.b")),
        ] {
            let child = spawn(dir.path(), &cluster, &seeds, kind, &name)?;
            readers.push(Reader { kind, name, child });
        }
        let document = FollowersDocument::default();
        Ok(Self { dir, cluster, seeds, readers, asleep: None, document })
    }

    /// Does to one of them, in turn, what is done to the nodes.
    pub(in crate::timeline::chaos) async fn harm(
        &mut self,
        round: u32,
        kind: FaultKind,
    ) -> anyhow::Result<()> {
        let index = round as usize % self.readers.len();
        self.look()?;
        let Reader { kind: what, name, child } = &mut self.readers[index];
        if kind == FaultKind::Pause {
            signal_group(child.id().unwrap_or_default(), Signal::SIGSTOP)?;
            self.asleep = Some(index);
            self.document.pauses += 1;
        } else {
            child.kill().await?;
            *child = spawn(self.dir.path(), &self.cluster, &self.seeds, what, name)?;
            self.document.kills += 1;
        }
        Ok(())
    }

    /// Wakes up the one that sleeps.
    pub(in crate::timeline::chaos) fn rouse(&mut self) -> anyhow::Result<()> {
        if let Some(index) = self.asleep.take() {
            let pid = self.readers[index].child.id().unwrap_or_default();
            signal_group(pid, Signal::SIGCONT)?;
        }
        Ok(())
    }

    /// None of them may have ended by itself.
    fn look(&mut self) -> anyhow::Result<()> {
        for Reader { name, child, .. } in &mut self.readers {
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(log_of(self.dir.path(), name))?;
                let last = said.lines().last().unwrap_or_default();
                bail!("the follower {name} ended by itself ({status}): {last}");
            }
        }
        Ok(())
    }

    /// Waits until they have seen what is there now, kills them and compares.
    pub(in crate::timeline::chaos) async fn judge(
        mut self,
        source: &impl RecordSource,
    ) -> anyhow::Result<FollowersDocument> {
        let (_, ends) = read(source).await?;
        let late = self.catch_up(source, &ends).await?;
        for reader in &mut self.readers {
            reader.child.kill().await?;
        }
        // Once more: they may have gone further than was read before.
        let (logs, _) = read(source).await?;
        let (rows, positions) = (of_view(&self.view())?, positions(&self.view())?);
        let mut document = std::mem::take(&mut self.document);
        document.problems.extend(late);
        document.facts = logs.values().map(|facts| facts.len() as u64).sum();
        document.in_view = rows.len() as u64;
        document.problems.extend(judge_view(&logs, rows, &positions));
        judge_members(&logs, &ends, &self.lives()?, &mut document);
        if !document.problems.is_empty() {
            let kept = self.dir.keep();
            document.problems.push(format!("what the followers saw is in {}", kept.display()));
        }
        Ok(document)
    }

    async fn catch_up(
        &mut self,
        source: &impl RecordSource,
        ends: &BTreeMap<u32, u64>,
    ) -> anyhow::Result<Option<String>> {
        let (logs, _) = read(source).await?;
        let wanted =
            |fact: &&Sight| fact.offset <= ends.get(&fact.shard).copied().unwrap_or_default();
        let wanted: usize = logs.values().flatten().filter(wanted).count();
        let end = Instant::now() + CATCH_UP;
        loop {
            self.look()?;
            let places = positions(&self.view()).unwrap_or_default();
            let view_is_there = ends
                .iter()
                .all(|(shard, end)| places.get(shard).copied().unwrap_or_default() >= *end);
            let mut given = std::collections::BTreeSet::new();
            for life in self.lives()? {
                let of_before = |sight: &Sight| {
                    sight.offset <= ends.get(&sight.shard).copied().unwrap_or_default()
                };
                given.extend(life.sights.into_iter().filter(of_before));
            }
            if view_is_there && given.len() >= wanted {
                return Ok(None);
            }
            if Instant::now() >= end {
                return Ok(Some(format!(
                    "after {} s the view stands at {places:?} of {ends:?}, and {} of {wanted} facts were given to the members",
                    CATCH_UP.as_secs(),
                    given.len()
                )));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn view(&self) -> PathBuf {
        self.dir.path().join("view.db")
    }

    fn lives(&self) -> anyhow::Result<Vec<Life>> {
        let mut lives = Vec::new();
        for reader in self.readers.iter().filter(|reader| reader.kind == "member") {
            let files =
                (1..).map(|life| self.dir.path().join(format!("{}.{life}.txt", reader.name)));
            for file in files.take_while(|file| file.exists()) {
                lives.push(Life { member: reader.name.clone(), sights: of_life(&file)? });
            }
        }
        Ok(lives)
    }
}

fn spawn(dir: &Path, cluster: &str, seeds: &str, kind: &str, name: &str) -> anyhow::Result<Child> {
    let words =
        ["follower", "--kind", kind, "--name", name, "--cluster", cluster, "--seeds", seeds];
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    words.extend(["--dir".into(), dir.into()]);
    let log = OpenOptions::new().create(true).append(true).open(log_of(dir, name))?;
    let mut command = tether::command(tether::this_program()?.as_os_str(), &words)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    command.spawn().context("a follower cannot be started")
}

fn log_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// All logs from their beginning, and where they end. A gap in the offsets is an error of its own.
async fn read(source: &impl RecordSource) -> anyhow::Result<(Logs, BTreeMap<u32, u64>)> {
    let (mut logs, mut ends) = (Logs::new(), BTreeMap::new());
    for shard in 0..source.shards().await? {
        let facts = logs.entry(shard).or_default();
        let mut after = 0;
        loop {
            let records = source.records_after(shard, after).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                if record.offset != after + 1 {
                    bail!("shard {shard} has no record between {after} and {}", record.offset);
                }
                after = record.offset;
                if record.entity.starts_with(OURS) {
                    continue;
                }
                for place in 0..record.events {
                    facts.push(Sight {
                        shard,
                        offset: record.offset,
                        place: u32::try_from(place)?,
                        sequence: record.base + place + 1,
                        entity: record.entity.clone(),
                    });
                }
            }
        }
        ends.insert(shard, after);
    }
    Ok((logs, ends))
}
