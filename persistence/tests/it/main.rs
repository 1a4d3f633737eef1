//! The integration tests of the stores: the laws on each of them, and what crashes, damage and full disks do to them.

mod laws;
mod subjects;
