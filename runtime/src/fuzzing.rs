//! The doors of the fuzz targets into this crate: what reaches entities in bincode, and what readers make of records. Compiled for tests and for fuzzing only.

pub use crate::bus::fuzzing::{readers, readers_seeds};
pub use crate::engine::fuzzing::{
    quarantine, quarantine_seeds, snapshot_payload, snapshot_payload_seeds,
};
pub use crate::registry::fuzzing::{payloads, payloads_seeds};

#[cfg(test)]
mod tests {
    use super::*;

    type Door = (fn(&[u8]), fn() -> Vec<Vec<u8>>);

    /// Every seed and every beginning of it goes through its door.
    #[test]
    fn seeds_and_their_beginnings_pass() {
        let doors: [Door; 4] = [
            (snapshot_payload, snapshot_payload_seeds),
            (quarantine, quarantine_seeds),
            (payloads, payloads_seeds),
            (readers, readers_seeds),
        ];
        for (door, seeds) in doors {
            for seed in seeds() {
                (0..=seed.len()).for_each(|end| door(&seed[..end]));
            }
        }
    }
}
