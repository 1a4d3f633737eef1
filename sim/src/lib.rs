//! Holm's proof: what happened, whether it is right, what to do next, and whether enough was seen.
//!
//! - [`history`]: the record of a run. What clients asked and were told, and what stood on the disks afterwards.
//!
//! The judging half is pure: it takes a finished history, from a simulated run or from real processes, and knows neither clock, network nor disk.

pub mod history;
