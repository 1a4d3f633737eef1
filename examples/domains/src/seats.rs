//! The seats of a show: one show is one entity, so two people can never get one seat, whichever node they ask.

mod commands;
mod events;
mod rejection;
mod show;

pub use commands::{Choose, Map, Place, Release};
pub use events::ShowEvent;
pub use rejection::ShowRejection;
pub use show::{MAX_HOLDER_BYTES, MAX_SEAT_BYTES, MAX_SEATS, Show};

#[cfg(test)]
mod tests;
