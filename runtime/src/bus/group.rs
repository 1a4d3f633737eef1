//! The group of a durable subscription: who reads which shards, and how far. An entity of Holm's own, so that it is where the cluster is, survives what
//! entities survive, and two members never get the same shard at the same time.
//!
//! Members attend at intervals: they say how far they are and which shards they hold, and hear which ones they should. Who does not attend
//! for the length of a lease is forgotten, and its shards go to the others from the positions that were stored. A shard moves from a living member
//! only after that member has let it go, so the facts of a shard are read by one member at a time. (A member that is cut off for longer than its lease and
//! reads on meanwhile cannot be kept from doing so, but it can store no position any more: the delivery is at least once.)

mod entity;
mod roster;
mod seat;

pub use entity::GroupRefusal;
pub(crate) use entity::{
    Attend, Attendance, Group, LEASE, LeaveOut, LeftOut, Pause, Reset, TakeUp, Where,
};
pub(crate) use seat::{ATTENDANCE, Seat, TRY_AGAIN, is_passing};
