//! What only the folders know.

use std::fs;

use holm_core::{Offset, ShardId};

use super::*;
use crate::projection::HandlerError;

const ME: Identity = Identity { name: "me", version: 1 };

fn nothing(_: &mut SledTransaction<'_>) -> Result<(), HandlerError> {
    Ok(())
}

fn moves(from: u64, to: u64) -> Change {
    Change { moves: vec![(ShardId(3), Offset(from), Offset(to))], ..Change::default() }
}

fn position(view: &SledView) -> Offset {
    view.adopt(ME, &mut nothing).unwrap().position.of(ShardId(3))
}

fn rows(view: &SledView) -> Vec<SledRow> {
    let all = view.shelf.current().read(|rows| rows.scan(b"").collect::<Result<Vec<_>, _>>());
    all.unwrap()
}

fn row(key: &str, value: &str) -> SledRow {
    (key.into(), value.into())
}

/// Promise G8: a place moves from where it is thought to be, or not at all.
#[test]
fn a_place_that_somebody_else_moved_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let view = SledView::open(dir.path().join("v")).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 7), &mut nothing).unwrap();
    let mut called = false;
    let fenced = view.write(&moves(0, 8), &mut |_| {
        called = true;
        Ok(())
    });
    assert!(matches!(fenced, Err(WriteError::Fenced { found: Offset(7), .. })), "{fenced:?}");
    assert!(!called && position(&view) == Offset(7));
}

/// Law O1: rows and position come together or not at all, and a handler reads what it wrote.
#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let view = SledView::open(dir.path().join("v")).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 3), &mut |tx| {
        tx.insert("b", "2")?;
        tx.insert("d", "4")?;
        Ok(())
    })
    .unwrap();
    let failed = view.write(&moves(3, 4), &mut |tx| {
        tx.insert("a", "1")?;
        tx.remove("b")?;
        tx.insert("c", "3")?;
        tx.insert("d", "5")?;
        assert_eq!(tx.scan("", 9)?, [row("a", "1"), row("c", "3"), row("d", "5")]);
        assert_eq!(tx.scan("", 2)?, [row("a", "1"), row("c", "3")]);
        assert_eq!((tx.get("b")?, tx.get("d")?), (None, Some(b"5".to_vec())));
        Err("no".into())
    });
    assert!(matches!(failed, Err(WriteError::Handler(_))), "{failed:?}");
    assert_eq!((rows(&view), position(&view)), (vec![row("b", "2"), row("d", "4")], Offset(3)));
}

/// Promise G9: what passes a limit is refused and says which.
#[test]
fn rows_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let view = SledView::open(dir.path().join("v")).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    for (key, value, what) in [(2_000, 1, "a key"), (1, 40_000, "a value")] {
        let refused =
            view.write(&moves(0, 1), &mut |tx| Ok(tx.insert("k".repeat(key), "v".repeat(value))?));
        assert!(refused.unwrap_err().to_string().contains(what));
    }
    let refused = view.write(&moves(0, 1), &mut |tx| {
        for number in 0..2_000u32 {
            tx.insert(number.to_be_bytes(), vec![7; 32 * 1_024])?;
        }
        Ok(())
    });
    assert!(refused.unwrap_err().to_string().contains("a transaction"));
    assert_eq!((rows(&view), position(&view)), (Vec::new(), Offset(0)));
}

/// A crash before the switch leaves the old view and the half-built one; after it, the new one alone.
#[test]
fn every_moment_of_a_switch_can_be_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let view = SledView::open(&path).unwrap();
    view.adopt(ME, &mut nothing).unwrap();
    view.write(&moves(0, 7), &mut nothing).unwrap();
    let beside = view.begin_rebuild().unwrap();
    beside.adopt(ME, &mut nothing).unwrap();
    beside.write(&moves(0, 5), &mut nothing).unwrap();
    drop((view, beside));

    let view = SledView::open(&path).unwrap();
    assert_eq!(position(&view), Offset(7));
    assert_eq!(position(&view.half_built().unwrap().unwrap()), Offset(5));
    // As if the process had died between the switch of the link and the end of the old folder.
    view.shelf.place().point_to(2).unwrap();
    drop(view);
    let view = SledView::open(&path).unwrap();
    assert_eq!(position(&view), Offset(5));
    assert!(view.half_built().unwrap().is_none());
    assert!(!dir.path().join("v.1").exists());
}

/// One process at a time; and a damaged database is an error, not an empty view.
#[test]
fn what_cannot_be_used_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let view = SledView::open(&path).unwrap();
    assert!(SledView::open(&path).unwrap_err().is_passing());
    view.adopt(ME, &mut nothing).unwrap();
    view.set_paused(true).unwrap();
    drop(view);
    let file = dir.path().join("v.1/db");
    let length = fs::metadata(&file).unwrap().len();
    fs::write(&file, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let broken = SledView::open(&path).unwrap_err();
    assert!(!broken.is_passing() && broken.to_string().contains("built from the log"), "{broken}");
}
