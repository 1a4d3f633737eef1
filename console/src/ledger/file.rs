//! The ledger on disk: one JSON document a line, appended by one process, read by any.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::entry::Entry;

/// Lines that may wait for the writing thread. At 50,000 answers a second it is more than a second of work.
const WAITING_LINES: usize = 65_536;

/// Longest time that a line stays in memory: what a killed load generator could forget, which only makes the audit expect less.
const FLUSH_EVERY: Duration = Duration::from_millis(20);

/// What the writing thread is handed.
#[derive(Debug)]
pub enum LedgerLine {
    /// One more line.
    Append(Box<Entry>),
    /// Write everything out and say so.
    Flush(SyncSender<()>),
}

/// The writing end. Dropping it writes everything out.
#[derive(Debug)]
pub struct LedgerFile {
    lines: Option<SyncSender<LedgerLine>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl LedgerFile {
    /// Opens a ledger for appending; an earlier run's lines stay, but for a last one that it was killed in. The file is locked as long as this lives.
    ///
    /// # Errors
    /// When another process appends to it, or the file cannot be opened, read or cut.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        // What another is about to finish looks like a torn line, so the lock comes before the cut.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process appends to it")
            }
            TryLockError::Error(error) => error,
        })?;
        cut_torn_line(&mut file)?;
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let writer = std::thread::Builder::new()
            .name("holm-ledger".into())
            .spawn(move || write_lines(&waiting, file))?;
        Ok(Self { lines: Some(lines), writer: Some(writer) })
    }

    /// Appends a line; waits when the disk is that far behind.
    pub fn record(&self, entry: Entry) {
        if let Some(lines) = &self.lines {
            // The thread ends early only when the disk refused a write; `close` reports that.
            let _ = lines.send(LedgerLine::Append(Box::new(entry)));
        }
    }

    /// Returns when everything recorded before is in the file.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if let Some(lines) = &self.lines
            && lines.send(LedgerLine::Flush(done)).is_ok()
        {
            let _ = wait.recv();
        }
    }

    /// Writes everything out and closes the file.
    ///
    /// # Errors
    /// When any line could not be written.
    pub fn close(mut self) -> io::Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.lines = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the ledger's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for LedgerFile {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Cuts the file after its last whole line. A line that is appended to half of another would make both of them unreadable.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    const STRETCH: u64 = 64 * 1024;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut stretch = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STRETCH);
        stretch.clear();
        file.seek(SeekFrom::Start(start))?;
        (&mut *file).take(end - start).read_to_end(&mut stretch)?;
        if let Some(at) = stretch.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

fn write_lines(lines: &Receiver<LedgerLine>, file: File) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    let mut scratch = Vec::new();
    loop {
        match lines.recv_timeout(FLUSH_EVERY) {
            Ok(line) => {
                take(line, &mut scratch, &mut out)?;
                // Whatever else is waiting, then out with it.
                for _ in 0..4_096 {
                    let Ok(line) = lines.try_recv() else { break };
                    take(line, &mut scratch, &mut out)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return out.flush(),
        }
        out.flush()?;
    }
}

/// A line goes to the buffer whole and so to the file in one write. A reader may still meet half of it, since a large write becomes visible page by page;
/// it leaves that half for the next time.
fn take(line: LedgerLine, scratch: &mut Vec<u8>, out: &mut BufWriter<File>) -> io::Result<()> {
    match line {
        LedgerLine::Append(entry) => {
            scratch.clear();
            serde_json::to_writer(&mut *scratch, &entry)?;
            scratch.push(b'\n');
            out.write_all(scratch)
        }
        LedgerLine::Flush(done) => {
            out.flush()?;
            let _ = done.send(());
            Ok(())
        }
    }
}

/// Reads a ledger line by line. A last line without its end belongs to a write under way (or to a writer that was killed) and is left out.
///
/// # Errors
/// When the file cannot be read, or a whole line is no entry: then something else wrote into it.
pub fn read_ledger(path: &Path, each: impl FnMut(Entry)) -> io::Result<u64> {
    LedgerReader::new(path).read_new(each)
}

/// Reads a ledger that is still being written, each line once.
#[derive(Debug)]
pub struct LedgerReader {
    path: PathBuf,
    bytes: u64,
    lines: u64,
}

impl LedgerReader {
    /// A reader at the beginning of the file.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), bytes: 0, lines: 0 }
    }

    /// Reads the lines that were added since the last call; gives the number of all lines read so far. A ledger that nobody began has none.
    ///
    /// # Errors
    /// As [`read_ledger`].
    pub fn read_new(&mut self, mut each: impl FnMut(Entry)) -> io::Result<u64> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.bytes == 0 => {
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        // Bytes, not text: a torn line may end within a character.
        let mut line = Vec::new();
        loop {
            line.clear();
            let bytes = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(self.lines);
            }
            let number = self.lines + 1;
            let entry = serde_json::from_slice(&line).map_err(|error| {
                io::Error::other(format!("{}, line {number}: {error}", self.path.display()))
            })?;
            each(entry);
            self.bytes += bytes as u64;
            self.lines = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Told;

    fn entry(key: u32) -> Entry {
        Entry {
            entity: "account/a".into(),
            command: "deposit".into(),
            key: key.to_string(),
            amount: 1,
            sent_us: 1,
            at_us: 2,
            told: Told::Unknown { error: "lost".into() },
        }
    }

    fn keys(path: &Path) -> Vec<String> {
        let mut keys = Vec::new();
        read_ledger(path, |entry| keys.push(entry.key)).unwrap();
        keys
    }

    #[test]
    fn what_was_flushed_can_be_read_while_writing_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let ledger = LedgerFile::append(&path).unwrap();
        ledger.record(entry(1));
        ledger.record(entry(2));
        ledger.flush();
        assert_eq!(keys(&path), ["1", "2"]);
        ledger.record(entry(3));
        ledger.close().unwrap();
        let again = LedgerFile::append(&path).unwrap();
        again.record(entry(4));
        drop(again);
        assert_eq!(keys(&path), ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_reader_that_comes_back_reads_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let mut reader = LedgerReader::new(&path);
        assert_eq!(reader.read_new(|_| ()).unwrap(), 0, "nobody began it");
        let ledger = LedgerFile::append(&path).unwrap();
        let mut keys = Vec::new();
        for nth in 1..=3 {
            ledger.record(entry(nth));
            ledger.flush();
            assert_eq!(reader.read_new(|entry| keys.push(entry.key)).unwrap(), u64::from(nth));
        }
        assert_eq!(keys, ["1", "2", "3"]);
        drop(ledger);
        std::fs::remove_file(&path).unwrap();
        reader.read_new(|_| ()).expect_err("it was there");
    }

    #[test]
    fn a_line_that_a_kill_tore_is_cut_before_the_next_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let whole = serde_json::to_string(&entry(1)).unwrap();
        let long = "x".repeat(200_000);
        for (before, left) in [
            (format!("{whole}\n{}", &whole[..20]), vec!["1", "2"]),
            (format!("{whole}\n{long}"), vec!["1", "2"]),
            (whole[..20].to_owned(), vec!["2"]),
            (String::new(), vec!["2"]),
        ] {
            std::fs::write(&path, before).unwrap();
            let ledger = LedgerFile::append(&path).unwrap();
            ledger.record(entry(2));
            ledger.close().unwrap();
            assert_eq!(keys(&path), left);
        }
    }

    #[test]
    fn a_line_that_was_torn_within_a_character_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let whole = serde_json::to_string(&entry(1)).unwrap();
        let mut torn = format!("{whole}\n{{\"error\":\"zur\u{fc}").into_bytes();
        torn.pop();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(keys(&path), ["1"]);
    }

    #[test]
    fn a_second_writer_is_refused_and_cuts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let first = LedgerFile::append(&path).unwrap();
        first.record(entry(1));
        first.flush();
        // Half of a line that the first is about to finish.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"entity\"").unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        let refused = LedgerFile::append(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
        first.close().unwrap();
        LedgerFile::append(&path).unwrap().close().unwrap();
        assert_eq!(keys(&path), ["1"]);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_foreign_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let whole = serde_json::to_string(&entry(1)).unwrap();
        std::fs::write(&path, format!("{whole}\n{}", &whole[..20])).unwrap();
        assert_eq!(keys(&path), ["1"]);
        std::fs::write(&path, format!("{whole}\nnonsense\n")).unwrap();
        let error = read_ledger(&path, |_| ()).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
