//! The copy of the tree in which bugs are planted, with a build folder of its own that begins with the dependencies already built.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use anyhow::Context as _;

use super::catalog::Mutant;

/// Context lines that must match. Code around a planted bug moves; one line on each side still says where it belongs.
const CONTEXT_LINES: &str = "-C1";

pub(crate) struct Scratch {
    root: PathBuf,
    tree: PathBuf,
    pub(crate) build: PathBuf,
}

impl Scratch {
    /// Copies what differs from an earlier copy, so that cargo builds only that again.
    pub(crate) fn prepare(root: &Path) -> anyhow::Result<Self> {
        let home = root.join("target/mutants");
        let (tree, build) = (home.join("tree"), home.join("build"));
        fs::create_dir_all(&tree)?;
        let scratch = Self { root: root.to_owned(), tree, build };
        scratch.seed_build()?;
        scratch.restore()?;
        Ok(scratch)
    }

    /// Where cargo is to be started.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Makes the copy equal to the tree again. A file that is equal keeps its time, so that nothing is built for it.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let output = succeed(Command::new("git").args(list).current_dir(&self.root))?;
        let listed = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
        let mut wanted = BTreeSet::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let (from, to) = (self.root.join(path), self.tree.join(path));
            match fs::read(&from) {
                // Listed, but deleted in the work tree.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| from.display().to_string()),
                Ok(bytes) if fs::read(&to).is_ok_and(|copied| copied == bytes) => {}
                Ok(_) => {
                    to.parent().map_or(Ok(()), fs::create_dir_all)?;
                    fs::copy(&from, &to).with_context(|| to.display().to_string())?;
                }
            }
            wanted.insert(to);
        }
        remove_others(&self.tree, &wanted).context("the copy of the tree cannot be cleaned")
    }

    /// Plants a bug; false when its patch does not apply, and the copy is then as before.
    pub(crate) fn plant(&self, mutant: &Mutant) -> anyhow::Result<bool> {
        self.apply(mutant, &[])
    }

    /// Whether the patch applies.
    pub(crate) fn would_apply(&self, mutant: &Mutant) -> anyhow::Result<bool> {
        self.apply(mutant, &["--check"])
    }

    fn apply(&self, mutant: &Mutant, more: &[&str]) -> anyhow::Result<bool> {
        let mut command = Command::new("git");
        command.args(["apply", CONTEXT_LINES, "--recount", "--whitespace=nowarn"]).args(more);
        // The copy lies inside a repository; without this git would look for the files from that one's root.
        command.env("GIT_CEILING_DIRECTORIES", self.tree.parent().unwrap_or(&self.tree));
        let output = command.arg(&mutant.patch).current_dir(&self.tree).output()?;
        if !output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.status.success())
    }

    /// The first time, takes over what is built of other people's crates; ours have other paths here and are built anew.
    fn seed_build(&self) -> anyhow::Result<()> {
        let (ours, theirs) = (self.root.join("target/debug"), self.build.join("debug"));
        if theirs.exists() || !ours.join("deps").is_dir() {
            return Ok(());
        }
        println!("copying the dependencies that are already built");
        for folder in ["build", "deps", ".fingerprint"] {
            fs::create_dir_all(theirs.join(folder))?;
            for entry in fs::read_dir(ours.join(folder))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.contains("holm") && !name.starts_with("it-") {
                    let mut copy = Command::new("cp");
                    succeed(copy.arg("-a").arg(entry.path()).arg(theirs.join(folder)))?;
                }
            }
        }
        Ok(())
    }
}

/// The date in UTC, as the system says it.
pub(crate) fn today() -> anyhow::Result<String> {
    let output = succeed(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn succeed(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(output)
}

fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
