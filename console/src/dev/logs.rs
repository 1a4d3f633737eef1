//! `holm dev logs`: the end of a log, and what is added to it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::output::{Failure, Output};

/// How much of the end of a log is looked at for its last lines.
const TAIL_BYTES: u64 = 1024 * 1024;

/// Between two looks at a log that is followed.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// The last lines of a file, at most `count`.
pub(super) fn last_lines(path: &Path, count: usize) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    Ok(lines[lines.len().saturating_sub(count)..].to_vec())
}

/// Prints the last lines of some logs, and goes on with what is added when asked to.
pub(super) async fn print(
    output: Output,
    logs: &[(String, PathBuf)],
    lines: usize,
    follow: bool,
) -> Result<(), Failure> {
    let show = |name: &str, line: &str| {
        if logs.len() > 1 { output.line(format_args!("{name}  {line}")) } else { output.line(line) }
    };
    let mut positions = Vec::new();
    for (name, path) in logs {
        let failed = |error| Failure::new(format!("{} cannot be read", path.display()), error);
        positions.push(File::open(path).and_then(|it| it.metadata()).map_err(failed)?.len());
        last_lines(path, lines).map_err(failed)?.iter().for_each(|line| show(name, line));
    }
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        for ((name, path), position) in logs.iter().zip(&mut positions) {
            let Ok(added) = added_lines(path, position) else { continue };
            added.iter().for_each(|line| show(name, line));
        }
    }
}

/// Whole lines after `position`, which moves past them.
fn added_lines(path: &Path, position: &mut u64) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *position {
        *position = 0;
    }
    file.seek(SeekFrom::Start(*position))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    *position += whole as u64;
    Ok(String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_and_what_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2).unwrap(), ["two", "three"]);
        let mut position = 14;
        std::fs::write(&path, "one\ntwo\nthree\nfour\nfi").unwrap();
        assert_eq!(added_lines(&path, &mut position).unwrap(), ["four"]);
        std::fs::write(&path, "one\ntwo\nthree\nfour\nfive\n").unwrap();
        assert_eq!(added_lines(&path, &mut position).unwrap(), ["five"]);
    }
}
