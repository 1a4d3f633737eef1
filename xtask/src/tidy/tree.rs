//! The work tree as texts in memory: every file that is ours, with its path relative to the root.

use std::path::Path;
use std::{fs, io};

/// What holds no source of ours. In a second work tree of the repository `.git` is a file.
const SKIPPED: [&str; 4] = ["target", ".git", ".holm", "node_modules"];

/// The files of the project.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
}

/// One file. What is not UTF-8 (golden files, images) is listed with an empty text: its existence counts, its bytes do not.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/` on every system.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Tree {
    /// Reads the tree under `root`.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let text = String::from_utf8(fs::read(entry.path())?).unwrap_or_default();
                self.files.push(File { path, text });
            }
        }
        Ok(())
    }

    /// Every file, in the order of the paths.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The files whose names end with one of the extensions.
    pub(crate) fn with_extension<'a>(
        &'a self,
        extensions: &'a [&'a str],
    ) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(|file| extensions.contains(&file.extension()))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Whether a file or a folder of this path exists.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

impl File {
    /// What follows the last dot of the name; empty when there is none.
    pub(crate) fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of a few texts, for the tests of the rules.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File { path: path.into(), text: text.into() };
        Self { files: files.iter().map(file).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_this_workspace_holds_this_file_and_no_build_output() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tree = Tree::read(root).unwrap();
        assert!(tree.text("xtask/src/tidy/tree.rs").is_some_and(|text| text.starts_with("//!")));
        assert!(tree.contains("xtask/src/tidy") && tree.contains("xtask/src/tidy/"));
        assert!(!tree.contains("target") && !tree.contains(".git"));
    }

    #[test]
    fn names_and_extensions_are_read_off_the_path() {
        let tree = Tree::of(&[("a/b.rs", ""), ("a/c", ""), ("d.md", "")]);
        assert_eq!(
            tree.with_extension(&["rs"]).map(|file| file.name()).collect::<Vec<_>>(),
            ["b.rs"]
        );
        assert_eq!(tree.files()[1].extension(), "");
    }
}
