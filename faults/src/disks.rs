//! A disk for each node: a file system in a file, that can lose its power or its space.
//!
//! Power is cut as the kernel's own tests do it: the file system is told to shut down without writing anything out. What was not synced is gone when it is
//! mounted again, directory entries included. The process is killed before, because a process that outlives its disk by a moment can acknowledge what
//! it only believes to have synced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::tools;

/// Between two journal commits of the file system, in seconds: far apart, so that what survives is what was synced.
const COMMIT_EVERY: &str = "commit=60";

/// `_IOR('X', 125, u32)` with the flag for "without flushing the log". Crates of ours hold no unsafe code, and an ioctl is, so the interpreter that is
/// everywhere does it.
const SHUT_DOWN: &str = r#"open(my $f, "<", $ARGV[0]) or die $!; my $how = pack("L", 2); defined(ioctl($f, 0x8004587d, $how)) or die $!;"#;

/// A disk that is busy for a moment is tried again so often.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The disks of all nodes.
#[derive(Debug)]
pub(crate) struct Disks {
    images: PathBuf,
    mounted: Vec<PathBuf>,
}

impl Disks {
    /// Why there can be none here.
    pub(crate) fn lacks() -> Option<String> {
        tools::lacks(&["mkfs.ext4", "mount", "umount", "perl", "truncate", "fallocate"]).or_else(
            || {
                (!Path::new("/dev/loop-control").exists())
                    .then(|| "there are no loop devices".into())
            },
        )
    }

    /// Makes a disk for each node. `data` holds a link for each node to a directory on its disk.
    pub(crate) fn make(below: &Path, data: &Path, nodes: u32, mib: u64) -> anyhow::Result<Self> {
        let mut disks = Self { images: below.join("disks"), mounted: Vec::new() };
        std::fs::create_dir_all(&disks.images)?;
        std::fs::create_dir_all(data)?;
        for number in 1..=nodes {
            let node = format!("holm-{number}");
            let (image, place) = (disks.image(&node), disks.place(&node));
            std::fs::create_dir_all(&place)?;
            tools::call("truncate", &["-s", &format!("{mib}M"), &text(&image)])?;
            // No blocks are reserved for root: the nodes of a campaign are root's.
            tools::call("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
            disks.mount(&node)?;
            disks.mounted.push(place.clone());
            std::fs::create_dir_all(place.join("data"))?;
            std::os::unix::fs::symlink(place.join("data"), data.join(&node))?;
        }
        Ok(disks)
    }

    /// Cuts the power of one disk and brings it back as it is then.
    pub(crate) async fn lose_power(&self, nodes: &[String]) -> anyhow::Result<()> {
        // All at once: no disk may go on while another is down already.
        for node in nodes {
            tools::call("perl", &["-e", SHUT_DOWN, &text(&self.place(node))])?;
        }
        for node in nodes {
            self.unmount(&self.place(node)).await?;
            self.mount(node)?;
        }
        Ok(())
    }

    /// Fills a disk to the last block.
    pub(crate) fn fill(&self, node: &str) -> anyhow::Result<()> {
        let place = self.place(node);
        let free = free_kib(&place)?;
        // Most of it in one go, the rest in small pieces until there is none.
        let ballast = text(&place.join("ballast"));
        let most = free.saturating_sub(512);
        if most > 0 {
            tools::call("fallocate", &["-l", &format!("{most}KiB"), &ballast])?;
        }
        let crumbs = place.join("crumbs");
        let full = std::fs::File::create(&crumbs).and_then(|mut file| {
            use std::io::Write as _;
            let block = [1_u8; 4_096];
            loop {
                file.write_all(&block)?;
                file.sync_data()?;
            }
        });
        match full {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(error).context("the disk could not be filled"),
            Ok(()) => unreachable!("the loop ends with an error"),
        }
    }

    /// Gives the space back.
    pub(crate) fn free(&self, node: &str) -> anyhow::Result<()> {
        for name in ["ballast", "crumbs"] {
            let file = self.place(node).join(name);
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    fn mount(&self, node: &str) -> anyhow::Result<()> {
        let (image, place) = (self.image(node), self.place(node));
        let options = format!("loop,{COMMIT_EVERY}");
        tools::call("mount", &["-o", &options, &text(&image), &text(&place)])?;
        Ok(())
    }

    async fn unmount(&self, place: &Path) -> anyhow::Result<()> {
        let mut tries = 0;
        while let Err(error) = tools::call("umount", &[&text(place)]) {
            tries += 1;
            if tries == TRIES {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn image(&self, node: &str) -> PathBuf {
        self.images.join(format!("{node}.ext4"))
    }

    fn place(&self, node: &str) -> PathBuf {
        self.images.join(node)
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for place in &self.mounted {
            // Lazily: a process that is still ending keeps its disk until it is gone.
            let _ = tools::call("umount", &["-l", &text(place)]);
        }
    }
}

fn free_kib(place: &Path) -> anyhow::Result<u64> {
    let said = tools::call("df", &["--output=avail", "-k", &text(place)])?;
    let number = said.lines().last().unwrap_or_default().trim();
    number.parse().with_context(|| format!("df said {said:?}"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
