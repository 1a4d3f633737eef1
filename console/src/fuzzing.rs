//! The doors of the fuzz targets into this crate: the bodies that come over HTTP and the files that are imported.
//!
//! Compiled for tests and for fuzzing only.

pub use crate::import::fuzzing::{import, import_seeds};
pub use crate::management::fuzzing::{http_body, http_body_seeds};

#[cfg(test)]
mod tests {
    use super::*;

    type Door = (fn(&[u8]), fn() -> Vec<Vec<u8>>);

    /// Every seed and every beginning of it goes through its door.
    #[test]
    fn seeds_and_their_beginnings_pass() {
        let doors: [Door; 2] = [(http_body, http_body_seeds), (import, import_seeds)];
        for (door, seeds) in doors {
            for seed in seeds() {
                (0..=seed.len()).for_each(|end| door(&seed[..end]));
            }
        }
    }
}
