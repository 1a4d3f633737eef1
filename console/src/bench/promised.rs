//! A file that was promised on the command line: whether it can be written is known before minutes of measuring, and it is whole or not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::output::Failure;

/// A place beside the path, which becomes the file when everything is in it.
#[derive(Debug)]
pub(super) struct Promised {
    path: PathBuf,
    draft: NamedTempFile,
}

impl Promised {
    /// Makes sure that the path can be written.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let path_given = || format!("{} cannot be written", path.display());
        // The file takes the place of what is there, and that must be no device, no pipe and no link to either.
        if let Ok(there) = std::fs::symlink_metadata(path)
            && !there.is_file()
        {
            return Err(Failure::usage(path_given(), "it is there and no regular file"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".holm-");
        // As any file that a program makes; the umask takes away what it shall.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let draft = builder.tempfile_in(parent);
        let draft = draft.map_err(|error| Failure::usage(path_given(), error))?;
        Ok(Self { path: path.to_owned(), draft })
    }

    /// Puts the file there, in place of what was there before.
    pub(super) fn keep(mut self, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let failed =
            |error| Failure::new(format!("{} cannot be written", self.path.display()), error);
        self.draft.write_all(bytes).map_err(failed)?;
        self.draft.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Exit;

    #[test]
    fn a_kept_promise_replaces_the_file_and_a_broken_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        std::fs::write(&path, "old").unwrap();
        drop(Promised::at(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        Promised::at(&path).unwrap().keep(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_written_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let nowhere = dir.path().join("nowhere/report.html");
        for path in [dir.path().to_owned(), nowhere, link.clone(), socket, "/dev/null".into()] {
            let failure = Promised::at(&path).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{failure}");
            assert!(failure.error.contains("cannot be written"), "{failure}");
        }
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
