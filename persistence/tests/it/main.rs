//! The integration tests of the stores: the laws on each of them, and what crashes, damage and full disks do to them.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails is a failed test")]

mod child;
mod damage;
mod full_disk;
mod golden;
mod index;
mod kills;
mod laws;
mod pace;
mod real_fsync;
mod round_trip;
#[path = "../../../tests/it/skipped.rs"]
mod skipped;
mod subjects;
