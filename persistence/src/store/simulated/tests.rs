//! Tests of the simulated disk under the real store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::store::{LogId, Op};

const LOG: LogId = LogId(3);

struct Opened {
    store: Arc<Store>,
    pump: Pump,
    acknowledged: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

fn open(disk: &SimulatedDisk) -> Result<Opened, StoreError> {
    let (store, pump) = disk.open(StoreOptions::default(), Arc::new(|| {}))?;
    let acknowledged = Arc::new(AtomicU64::new(store.last_index(LOG).unwrap_or(0)));
    Ok(Opened { store, pump, acknowledged, failed: Arc::default() })
}

impl Opened {
    fn append(&self, index: u64) {
        let value = Bytes::from(vec![u8::try_from(index % 251).unwrap(); 40_000]);
        let (acknowledged, failed) = (Arc::clone(&self.acknowledged), Arc::clone(&self.failed));
        let done = Box::new(move |result: Result<(), StoreError>| match result {
            Ok(()) => acknowledged.store(index, Ordering::SeqCst),
            Err(_) => failed.store(true, Ordering::SeqCst),
        });
        self.store.commit(vec![Op::Append { log: LOG, index, value }], done);
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// What can be read, and what is stored behind it, is there after the power was cut.
fn assert_what_is_shown_is_durable(disk: &SimulatedDisk, opened: Opened, seed: u64) {
    let shown = opened.store.last_index(LOG).unwrap();
    opened.append(shown + 1);
    opened.pump.begin().unwrap().finish();
    assert_eq!(opened.acknowledged(), shown + 1, "seed {seed}");
    disk.crash(Crash::PowerLost);
    drop(opened);
    let opened = open(disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(opened.acknowledged() > shown, "seed {seed}: {shown} and more was shown");
}

/// Promise G1. Promise G6: on the disk of the simulation what was acknowledged is there after any crash, and what was not is there with both its parts or not
/// at all.
#[test]
fn what_was_acknowledged_survives_a_crash_and_the_rest_may() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..200 {
        let disk = SimulatedDisk::new("/simulated", seed);
        let mut durable = 0;
        for crash in [Crash::Killed, Crash::PowerLost, Crash::PowerLost] {
            let opened = open(&disk).unwrap();
            assert!(opened.acknowledged() >= durable, "seed {seed}");
            let next = opened.acknowledged() + 1;
            for index in next..next + 5 {
                opened.append(index);
                opened.pump.begin().unwrap().finish();
            }
            durable = opened.acknowledged();
            assert_eq!(durable, next + 4);
            opened.append(next + 5);
            let begun = opened.pump.begin().unwrap();
            assert_eq!(opened.store.last_index(LOG), Some(durable), "not yet durable");
            disk.crash(crash);
            begun.finish();
            assert!(opened.failed.load(Ordering::SeqCst), "a dead process is told nothing else");
            drop(opened);
            let again = open(&disk).unwrap();
            match again.acknowledged() - durable {
                0 => lost += 1,
                1 => kept += 1,
                more => panic!("seed {seed}: {more} entries too many"),
            }
            durable = again.acknowledged();
            disk.crash(Crash::Killed);
        }
    }
    assert!(lost > 50 && kept > 50, "both happen: {lost} lost, {kept} kept");
}

/// The same with a group behind one that is not durable: a crash takes from the end, and nobody hears of the second before the first.
#[test]
fn groups_in_a_row_are_acknowledged_in_their_order() {
    let (mut second_lost, mut both_lost) = (0, 0);
    for seed in 0..300 {
        let disk = SimulatedDisk::new("/simulated", seed);
        let opened = open(&disk).unwrap();
        opened.append(1);
        let first = opened.pump.begin().unwrap();
        opened.append(2);
        let second = opened.pump.begin_behind(&first).unwrap();
        assert_eq!(opened.store.last_index(LOG), None, "neither is durable");
        let crash = [Crash::Killed, Crash::PowerLost][seed as usize % 2];
        let mut begun = VecDeque::from([first, second]);
        for index in 1..=seed % 3 {
            begun.pop_front().unwrap().finish();
            assert_eq!((opened.acknowledged(), opened.store.last_index(LOG)), (index, Some(index)));
        }
        let acknowledged = opened.acknowledged();
        disk.crash(crash);
        drop(begun);
        drop(opened);
        let again = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!((acknowledged..=2).contains(&again.acknowledged()), "seed {seed}");
        second_lost += usize::from(again.acknowledged() == 1);
        both_lost += usize::from(again.acknowledged() == 0);
    }
    assert!(second_lost > 10 && both_lost > 10, "{second_lost} and {both_lost}");
}

/// Promise G1: behind a sync that failed nothing is acknowledged, even where the disk takes everything after it, and even when the store was opened anew meanwhile.
#[test]
fn a_group_behind_a_failed_sync_fails_with_it() {
    for (seed, reopened) in (0..40).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = SimulatedDisk::new("/simulated", seed);
        let opened = open(&disk).unwrap();
        opened.append(1);
        opened.pump.begin().unwrap().finish();
        opened.append(2);
        let second = opened.pump.begin().unwrap();
        opened.append(3);
        let third = opened.pump.begin_behind(&second).unwrap();
        disk.fail_syncs(1);
        second.finish();
        assert!(opened.failed.swap(false, Ordering::SeqCst));
        if reopened {
            opened.store.reopen().unwrap();
        }
        let shown = opened.store.last_index(LOG);
        third.finish();
        assert!(opened.failed.load(Ordering::SeqCst), "seed {seed}");
        assert_eq!((opened.acknowledged(), opened.store.last_index(LOG)), (1, shown));
        assert_eq!(opened.store.failure().is_none(), reopened, "an old failure is told once");
        opened.store.reopen().unwrap();
        assert_what_is_shown_is_durable(&disk, opened, seed);
    }
}

/// What was begun before the store was opened anew says nothing of what is there: the next group follows the log as it is.
#[test]
fn a_group_does_not_follow_one_of_an_earlier_opening() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new("/simulated", seed);
        let opened = open(&disk).unwrap();
        opened.append(1);
        opened.pump.begin().unwrap().finish();
        disk.fail_syncs(1);
        opened.append(2);
        let second = opened.pump.begin().unwrap();
        opened.append(3);
        let third = opened.pump.begin_behind(&second).unwrap();
        second.finish();
        opened.store.reopen().unwrap();
        let next = opened.store.last_index(LOG).unwrap() + 1;
        opened.append(next);
        let fourth = opened.pump.begin_behind(&third).unwrap();
        third.finish();
        fourth.finish();
        assert_eq!(opened.acknowledged(), next, "seed {seed}");
        assert_eq!(opened.store.last_index(LOG), Some(next), "seed {seed}");
    }
}

/// Promise G1: a group of which nothing was taken hides nothing of the one before it from the one behind it.
#[test]
fn a_refused_group_between_two_hides_nothing() {
    let opened = open(&SimulatedDisk::new("/simulated", 1)).unwrap();
    opened.append(1);
    let first = opened.pump.begin().unwrap();
    opened.append(9);
    let refused = opened.pump.begin_behind(&first).unwrap();
    opened.append(2);
    let third = opened.pump.begin_behind(&refused).unwrap();
    for commit in [first, refused, third] {
        commit.finish();
    }
    assert_eq!(opened.acknowledged(), 2);
    assert_eq!((opened.store.first_index(LOG), opened.store.last_index(LOG)), (Some(1), Some(2)));
    assert!(opened.failed.load(Ordering::SeqCst), "the one with a gap");
}

/// The side file must ask for less before logs get shorter, and for no more until they are.
#[test]
fn nothing_is_begun_beside_a_group_that_makes_logs_shorter() {
    let disk = SimulatedDisk::new("/simulated", 1);
    let opened = open(&disk).unwrap();
    (1..=4).for_each(|index| opened.append(index));
    opened.pump.drain();
    opened.append(5);
    let first = opened.pump.begin().unwrap();
    opened.store.commit(vec![Op::TruncateFrom { log: LOG, index: 3 }], Box::new(|_| {}));
    assert!(opened.pump.begin_behind(&first).is_none());
    first.finish();
    let shorter = opened.pump.begin().unwrap();
    opened.append(3);
    assert!(opened.pump.begin_behind(&shorter).is_none());
    shorter.finish();
    assert_eq!(opened.store.last_index(LOG), Some(2));
    opened.pump.drain();
    assert_eq!(opened.store.last_index(LOG), Some(3));
}

#[test]
fn a_full_disk_and_a_failed_fsync_poison_the_store_and_lose_nothing() {
    for full in [true, false] {
        let disk = SimulatedDisk::new("/simulated", 1);
        let opened = open(&disk).unwrap();
        opened.append(1);
        opened.pump.begin().unwrap().finish();
        if full {
            disk.set_full(true)
        } else {
            disk.fail_syncs(1)
        }
        opened.append(2);
        opened.pump.begin().unwrap().finish();
        assert!(opened.failed.load(Ordering::SeqCst));
        assert!(opened.store.failure().is_some());
        disk.set_full(false);
        opened.store.reopen().unwrap();
        assert_eq!(opened.store.entry(LOG, 1).unwrap().unwrap().len(), 40_000);
    }
}

#[test]
fn damage_is_found_out() {
    for damage in
        [Damage::Emptied, Damage::FlippedBit(Spot::Log), Damage::FlippedBit(Spot::SideFile)]
    {
        let mut found = false;
        for seed in 0..20 {
            let disk = SimulatedDisk::new("/simulated", seed);
            let opened = open(&disk).unwrap();
            for index in 1..=4 {
                opened.append(index);
                opened.pump.begin().unwrap().finish();
            }
            disk.crash(Crash::Killed);
            drop(opened);
            assert!(disk.damage(damage));
            let Ok(opened) = open(&disk) else {
                found = true;
                continue;
            };
            let read = (1..=4).map(|index| opened.store.entry(LOG, index));
            found |= read.into_iter().any(|entry| entry.is_err());
        }
        assert!(found, "{damage:?}");
    }
}

/// The tail file only adds to what the side file says: without its newest half the older one counts, and the store opens.
#[test]
fn a_flipped_bit_of_the_tail_file_is_stepped_over() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new("/simulated", seed);
        let opened = open(&disk).unwrap();
        (1..=4).for_each(|index| opened.append(index));
        opened.pump.drain();
        disk.crash(Crash::Killed);
        drop(opened);
        assert!(disk.damage(Damage::FlippedBit(Spot::TailFile)));
        let opened = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(opened.acknowledged(), 4, "seed {seed}");
    }
}

/// Promise G1: what a failed sync did not write can be read from the cache until that is forgotten. Neither the process that met it nor the next one
/// takes it for durable.
#[test]
fn pages_that_a_failed_sync_dropped_are_not_taken_for_durable() {
    for (seed, again) in (0..40).flat_map(|seed| [(seed, true), (seed, false)]) {
        let disk = SimulatedDisk::new("/simulated", seed);
        let mut opened = open(&disk).unwrap();
        opened.append(1);
        opened.pump.begin().unwrap().finish();
        disk.fail_syncs(1);
        opened.append(2);
        opened.pump.begin().unwrap().finish();
        assert_eq!(opened.acknowledged(), 1);
        if again {
            opened.store.reopen().unwrap();
        } else {
            assert!(disk.crash(Crash::Killed).dropped, "seed {seed}");
            drop(opened);
            opened = open(&disk).unwrap();
        }
        assert_what_is_shown_is_durable(&disk, opened, seed);
    }
}

#[test]
fn one_process_at_a_time() {
    let disk = SimulatedDisk::new("/simulated", 1);
    let first = open(&disk).unwrap();
    assert!(matches!(open(&disk).map(drop), Err(StoreError::InUse { .. })));
    first.store.close().unwrap();
    drop(first);
    open(&disk).map(drop).unwrap();
}
