//! What only the files know.

use std::fs;

use holm_core::{Offset, ShardId};

use super::*;

const ME: Identity = Identity { name: "me", version: 1 };

fn nothing(_: &mut Transaction<'_>) -> Result<(), crate::HandlerError> {
    Ok(())
}

fn moves(from: u64, to: u64) -> Change {
    Change { moves: vec![(ShardId(3), Offset(from), Offset(to))], ..Change::default() }
}

fn position(view: &SqliteView) -> Offset {
    view.adopt(ME, &mut nothing).unwrap().position.of(ShardId(3))
}

/// Promise G8: a place moves from where it is thought to be, or not at all.
#[test]
fn a_place_that_somebody_else_moved_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let view = SqliteView::open(dir.path().join("v.db")).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 7), &mut nothing).unwrap();
    let mut called = false;
    let fenced = view.write(&moves(0, 8), &mut |_| {
        called = true;
        Ok(())
    });
    assert!(
        matches!(
            fenced,
            Err(WriteError::Fenced { found: Offset(7), expected: Offset(0), shard: ShardId(3) })
        ),
        "{fenced:?}"
    );
    assert!(!called && position(&view) == Offset(7));
}

/// Law O1: a handler can neither end the transaction that it writes in nor write our tables.
#[test]
fn a_handler_cannot_end_its_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let view = SqliteView::open(dir.path().join("v.db")).unwrap();
    view.adopt(ME, &mut |tx| Ok(tx.execute_batch("CREATE TABLE mine (x)")?)).unwrap();
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "DELETE FROM holm_positions",
        "UPDATE holm_projections SET paused = 1",
        "INSERT INTO holm_positions VALUES (3, 99)",
        "DROP TABLE holm_parked",
        "INSERT OR ROLLBACK INTO mine SELECT 1 FROM mine; SELECT raise_nothing()",
    ] {
        let written = view.write(&moves(0, 7), &mut |tx| {
            tx.execute_batch("INSERT INTO mine VALUES (1)")?;
            Ok(tx.execute_batch(sql)?)
        });
        assert!(matches!(written, Err(WriteError::Handler(_))), "{sql}: {written:?}");
        let mine = view.shelf.current().read(|connection| {
            connection.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, u64>(0))
        });
        assert!(mine.unwrap() == 0 && position(&view) == Offset(0), "{sql}");
    }
    view.write(&moves(0, 7), &mut |tx| Ok(tx.execute_batch("INSERT INTO mine VALUES (1)")?))
        .unwrap();
}

/// A crash before the switch leaves the old view and the half-built one; after it, the new one alone.
#[test]
fn every_moment_of_a_switch_can_be_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.db");
    let view = SqliteView::open(&path).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 7), &mut nothing).unwrap();
    let beside = view.begin_rebuild().unwrap();
    beside.adopt(ME, &mut nothing).unwrap();
    beside.write(&moves(0, 5), &mut nothing).unwrap();
    drop((view, beside));

    let view = SqliteView::open(&path).unwrap();
    assert_eq!(position(&view), Offset(7));
    assert_eq!(position(&view.half_built().unwrap().unwrap()), Offset(5));
    // As if the process had died between the switch of the link and the end of the old file.
    view.shelf.place().point_to(2).unwrap();
    drop(view);
    let view = SqliteView::open(&path).unwrap();
    assert_eq!(position(&view), Offset(5));
    assert!(view.half_built().unwrap().is_none());
    assert!(!dir.path().join("v.db.1").exists());
    // A number is not used twice.
    view.begin_rebuild().unwrap();
    view.begin_rebuild().unwrap();
    assert!(dir.path().join("v.db.4").exists() && !dir.path().join("v.db.3").exists());
}

/// A switch that comes late, from a worker that is gone, does not put a dropped view into the place of the present one.
#[test]
fn what_was_dropped_does_not_take_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.db");
    let view = SqliteView::open(&path).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 7), &mut nothing).unwrap();
    let dropped = view.begin_rebuild().unwrap();
    view.begin_rebuild().unwrap();
    assert!(!view.switch_to(dropped).unwrap_err().is_passing());
    drop(view);
    assert_eq!(position(&SqliteView::open(&path).unwrap()), Offset(7));
}

#[test]
fn a_path_that_is_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.db");
    fs::write(&path, "a file").unwrap();
    let refused = SqliteView::open(&path).unwrap_err();
    assert!(refused.to_string().contains("is a file, not a link"), "{refused}");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(SqliteView::open(&path).is_err());
}

/// One process at a time.
#[test]
fn a_view_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.db");
    let view = SqliteView::open(&path).unwrap();
    assert!(SqliteView::open(&path).unwrap_err().is_passing());
    drop(view);
    SqliteView::open(&path).unwrap();
}

/// A file that is no database is an error, and a half-built one that is none is only dropped.
#[test]
fn damaged_files_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.db");
    drop(SqliteView::open(&path).unwrap());
    fs::write(dir.path().join("v.db.2"), [7u8; 4_096]).unwrap();
    let view = SqliteView::open(&path).unwrap();
    assert!(view.half_built().unwrap().is_none());
    drop(view);
    fs::write(dir.path().join("v.db.1"), [7u8; 4_096]).unwrap();
    let broken = SqliteView::open(&path).unwrap_err();
    assert!(!broken.is_passing(), "{broken}");
}
