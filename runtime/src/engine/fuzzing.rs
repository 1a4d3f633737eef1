//! The door of the fuzz target to what the engine reads out of a snapshot. Compiled for tests and for fuzzing only.

use std::time::Duration;

use holm_core::{Offset, Timestamp};

use super::window::{Window, WindowBounds};
use crate::snapshot_payload::{self, Parts};

/// More keys than a long window needs for its table, and few enough that an input can pass the limit.
const BOUNDS: WindowBounds = WindowBounds { keys: 80, age: Duration::from_secs(100) };

/// The payload of a snapshot, as the store gives it: the state's bytes and the window of keys.
pub fn snapshot_payload(data: &[u8]) {
    let Ok(parts) = snapshot_payload::read(data) else { return };
    let taken_in = (Timestamp::from_millis(1_000_000), BOUNDS);
    let mut window = Window::from_entries(&parts.window, taken_in);
    let entries = window.entries();
    assert!(entries.len() <= BOUNDS.keys && entries.len() <= parts.window.len());
    let restored = Window::from_entries(&entries, taken_in);
    assert_eq!(restored.entries(), entries);
    window.find(7, taken_in.0, BOUNDS);
    let again = snapshot_payload::write(&Parts { window: entries, state: parts.state });
    assert!(snapshot_payload::read(&again.expect("a window and bytes")).is_ok());
}

/// Seeds of [`snapshot_payload`]: no key, a few, and more than the window holds.
#[must_use]
pub fn snapshot_payload_seeds() -> Vec<Vec<u8>> {
    let seed = |keys: u64| {
        let mut window = Window::default();
        for key in 0..keys {
            let digest = u128::from(key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060);
            let (offset, at) = (Offset(key + 1), Timestamp::from_millis(key * 900));
            window.remember(digest, offset, at, WindowBounds { keys: 1_000, ..BOUNDS });
        }
        let parts = Parts { window: window.entries(), state: b"state" };
        snapshot_payload::write(&parts).expect("a window and bytes")
    };
    [0, 3, 100].map(seed).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_their_beginnings_pass() {
        for seed in snapshot_payload_seeds() {
            (0..=seed.len()).for_each(|end| snapshot_payload(&seed[..end]));
        }
    }
}
