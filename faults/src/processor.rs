//! Taking the processor away from a process, by a quota of the kernel's control groups.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::tools;

/// Where the first version of control groups keeps the controller of the processor.
const ROOT: &str = "/sys/fs/cgroup/cpu";

/// Microseconds of processor time in each period of a tenth of a second.
const QUOTA_US: &str = "5000";
const PERIOD_US: &str = "100000";

/// A process under a quota. Dropping it lifts the quota.
#[derive(Debug)]
pub(crate) struct Quota {
    group: PathBuf,
    before: PathBuf,
    pid: u32,
}

impl Quota {
    /// Why there can be none here.
    pub(crate) fn lacks() -> Option<String> {
        tools::lacks(&[]).or_else(|| {
            let there = Path::new(ROOT).join("cpu.cfs_quota_us").exists()
                || Path::new(ROOT).join("cgroup.procs").exists();
            (!there).then(|| format!("there is no control group of the processor at {ROOT}"))
        })
    }

    /// Puts a process under the quota.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let group = Path::new(ROOT).join(format!("holm-faults-{pid}"));
        std::fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
        let quota = Self { before: group_of(pid)?, group, pid };
        quota.write("cpu.cfs_period_us", PERIOD_US)?;
        quota.write("cpu.cfs_quota_us", QUOTA_US)?;
        quota.write("cgroup.procs", &pid.to_string())?;
        Ok(quota)
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.group.join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = std::fs::write(self.before.join("cgroup.procs"), self.pid.to_string());
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// The group that a process is in now.
fn group_of(pid: u32) -> anyhow::Result<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of_processor = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|it| it == "cpu").then(|| parts.next().unwrap_or("/").to_owned())
    });
    let path = of_processor.unwrap_or_default();
    Ok(Path::new(ROOT).join(path.trim_start_matches('/')))
}
