//! A damaged directory: a clear error or a clean recovery, never a panic, never silence, never lost data without an error.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use holm_core::{Entropy as _, Offset, SeededEntropy, SequenceNumber, ShardId};
use holm_persistence::conformance::wait;
use holm_persistence::{
    Batch, EntityEvents, LogId, ReadError, ShardLog as _, SledLog, Store, StoreError, StoreOptions,
    entity_events,
};
use tempfile::TempDir;

use crate::child::{ENTITIES, ShardWriter, entity};
use crate::subjects::{SHARDS, fast_directory};

/// Damaged images of each kind and each way of stopping.
const IMAGES: u64 = 20;

/// What a directory held when it was whole.
struct Original {
    dir: TempDir,
    batches: BTreeMap<ShardId, Vec<Batch>>,
    histories: BTreeMap<(ShardId, u64), EntityEvents>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Closed in an orderly way.
    Closed,
    /// As a kill leaves it: copied while it was open.
    Killed,
}

#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    reads_refused: u64,
    whole: u64,
}

#[test]
fn truncated_databases_never_open_silently() {
    for_images("truncated", |db, length, entropy| {
        db.set_len(entropy.below(length)).unwrap();
    });
}

#[test]
fn flipped_bits_are_never_read_as_data() {
    for_images("one bit flipped", |db, length, entropy| {
        let at = entropy.below(length);
        let mut byte = [0];
        db.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << entropy.below(8);
        db.write_all_at(&byte, at).unwrap();
    });
}

#[test]
fn lost_pages_are_never_read_as_data() {
    for_images("a page of zeros", |db, length, entropy| {
        let page = entropy.below(length / 4096) * 4096;
        db.write_all_at(&[0; 4096], page).unwrap();
    });
}

#[test]
fn overwritten_stretches_are_never_read_as_data() {
    for_images("a stretch overwritten", |db, length, entropy| {
        let mut stretch = vec![0; 1 + usize::try_from(entropy.below(100_000)).unwrap()];
        stretch.fill_with(|| entropy.next_u64().to_le_bytes()[0]);
        db.write_all_at(&stretch, entropy.below(length - stretch.len() as u64)).unwrap();
    });
}

/// Any other file of the directory damaged or gone: an error that names it, or everything is there.
#[test]
fn damage_to_the_other_files_is_named_or_harmless() {
    for stop in [Stop::Closed, Stop::Killed] {
        let original = Original::write(stop);
        let names: Vec<_> = fs::read_dir(original.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "db")
            .map(|entry| entry.file_name())
            .collect();
        assert!(
            names.len() >= 4,
            "conf, side file, tail file and lock, sled's snapshot when closed: {names:?}"
        );
        let mut entropy = SeededEntropy::new(3);
        for name in &names {
            for damage in 0..6 {
                let image = original.copy();
                let path = image.path().join(name);
                let mut bytes = fs::read(&path).unwrap();
                match damage {
                    0 => fs::remove_file(&path).unwrap(),
                    1 => fs::write(&path, b"").unwrap(),
                    _ if bytes.is_empty() => continue,
                    2 => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                    _ => {
                        let at = usize::try_from(entropy.below(bytes.len() as u64)).unwrap();
                        bytes[at] ^= 1 << entropy.below(8);
                        fs::write(&path, bytes).unwrap();
                    }
                }
                let what = format!("{name:?}, damage {damage}, {stop:?}");
                let outcome = original.check(&image, &what, &mut Tally::default());
                if name == "holm.identity" {
                    let error = outcome.expect_err(&what);
                    assert!(error.to_string().contains("holm.identity"), "{what}: {error}");
                }
            }
        }
    }
}

/// An emptied database, as sled opens a damaged one: refused, again and again, and the error says what must be there.
#[test]
fn an_emptied_database_is_refused() {
    for stop in [Stop::Closed, Stop::Killed] {
        let original = Original::write(stop);
        let image = original.copy();
        File::create(image.path().join("db")).unwrap();
        for entry in fs::read_dir(image.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                fs::remove_file(path).unwrap();
            }
        }
        for _ in 0..3 {
            let error = Store::open(image.path(), options()).unwrap_err();
            assert!(
                matches!(error, StoreError::EntriesMissing { log: LogId(0), found: None, .. }),
                "{error}"
            );
        }
    }
}

fn for_images(what: &str, damage: impl Fn(&File, u64, &mut SeededEntropy)) {
    for stop in [Stop::Closed, Stop::Killed] {
        let original = Original::write(stop);
        let mut tally = Tally::default();
        for seed in 0..IMAGES {
            let image = original.copy();
            let db = File::options().read(true).write(true).open(image.path().join("db")).unwrap();
            damage(&db, db.metadata().unwrap().len(), &mut SeededEntropy::new(seed));
            drop(db);
            let _ = original.check(&image, &format!("{what}, {stop:?}, seed {seed}"), &mut tally);
        }
        println!("{what}, {stop:?}: {tally:?}");
    }
}

impl Original {
    fn write(stop: Stop) -> Self {
        let live = fast_directory();
        let log = open(live.path()).unwrap();
        let mut entropy = SeededEntropy::new(11);
        let mut writers: Vec<ShardWriter> =
            (0..SHARDS).map(|id| ShardWriter::open(&log, ShardId(id))).collect();
        let mut batches: BTreeMap<ShardId, Vec<Batch>> = BTreeMap::new();
        for round in 0..150 {
            for writer in &mut writers {
                let batch = writer.batch(&mut entropy);
                wait(log.append(batch.clone())).unwrap();
                batches.entry(writer.id).or_default().push(batch);
            }
            if round == 100 {
                // Part of the index is in the database, part of it only in memory, when the process is killed.
                log.flush_indexes();
            }
        }
        let histories =
            read_histories(&log).into_iter().map(|(key, history)| (key, history.unwrap()));
        let histories = histories.collect();
        if stop == Stop::Closed {
            log.close().unwrap();
            // Opened and closed once more, so that sled's own snapshot file is there.
            drop(log);
            open(live.path()).unwrap().close().unwrap();
        }
        let dir = copy_directory(live.path());
        Self { dir, batches, histories }
    }

    fn copy(&self) -> TempDir {
        copy_directory(self.dir.path())
    }

    /// Opens a damaged image. Whatever can be read must be what was written; what cannot must be an error.
    fn check(&self, image: &TempDir, what: &str, tally: &mut Tally) -> Result<(), StoreError> {
        let checked = panic::catch_unwind(AssertUnwindSafe(|| {
            let log = open(image.path())?;
            Ok::<_, StoreError>(self.check_reads(&log, what))
        }));
        match checked.unwrap_or_else(|_| panic!("{what}: it panicked")) {
            Err(error) => {
                let named = error.to_string().contains(image.path().to_str().unwrap());
                assert!(named, "{what}: the error does not name the directory: {error}");
                tally.refused += 1;
                Err(error)
            }
            Ok(0) => {
                tally.whole += 1;
                Ok(())
            }
            Ok(_) => {
                tally.reads_refused += 1;
                Ok(())
            }
        }
    }

    /// How many reads were refused.
    fn check_reads(&self, log: &SledLog, what: &str) -> usize {
        let mut refused = 0;
        for (&shard, written) in &self.batches {
            let mut next = Offset(1);
            for batch in written {
                match log.read(shard, next, 1) {
                    Ok(found) => {
                        assert_eq!(
                            found,
                            std::slice::from_ref(batch),
                            "{what}: shard {shard} at {next}"
                        )
                    }
                    Err(error) => refused += refusal(&error),
                }
                next = batch.last().next();
            }
        }
        for (key, found) in read_histories(log) {
            match found {
                Ok(found) => assert_eq!(&found, &self.histories[&key], "{what}: {key:?}"),
                Err(error) => refused += refusal(&error),
            }
        }
        refused
    }
}

fn refusal(error: &ReadError) -> usize {
    assert!(!error.to_string().is_empty());
    1
}

fn read_histories(log: &SledLog) -> Vec<((ShardId, u64), Result<EntityEvents, ReadError>)> {
    let keys =
        (0..SHARDS).flat_map(|shard| (0..ENTITIES).map(move |number| (ShardId(shard), number)));
    let (from, to) = (SequenceNumber(1), SequenceNumber(u64::MAX));
    keys.map(|(shard, number)| {
        ((shard, number), entity_events(log, shard, &entity(number), from, to, usize::MAX))
    })
    .collect()
}

fn open(dir: &Path) -> Result<SledLog, StoreError> {
    SledLog::start(Store::open(dir, options())?, SHARDS)
}

fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 8 << 20, ..StoreOptions::default() }
}

fn copy_directory(from: &Path) -> TempDir {
    let to = fast_directory();
    fs::create_dir(to.path().join("blobs")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}
