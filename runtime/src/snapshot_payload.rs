//! What the runtime stores in a snapshot: a format version, the idempotency window and the state.
//!
//! Layout: one byte, the format version (now 1); then, encoded, the window as a sequence of (digest, offset, time) from old to new, and the
//! state as bytes. The store adds length and checksum.

use holm_persistence::{CodecError, borrow_decode, encode_into};
use serde::{Deserialize, Serialize};

/// The version written; readers know exactly this one.
const FORMAT_VERSION: u8 = 1;

/// A snapshot's content, borrowing from its payload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parts<'a> {
    pub(crate) window: Vec<WindowEntry>,
    #[serde(borrow, with = "serde_bytes")]
    pub(crate) state: &'a [u8],
}

/// One remembered key, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowEntry {
    /// The lower 96 bits of the key's digest.
    pub(crate) digest: u128,
    pub(crate) offset: u64,
    /// Milliseconds since the epoch, a whole second.
    pub(crate) at: u64,
}

/// The payload of a snapshot.
pub(crate) fn write(parts: &Parts<'_>) -> Result<Vec<u8>, CodecError> {
    let mut payload = Vec::with_capacity(1 + parts.state.len() + parts.window.len() * 32);
    payload.push(FORMAT_VERSION);
    encode_into(parts, &mut payload)?;
    Ok(payload)
}

/// The content of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Parts<'_>, UnreadableSnapshot> {
    match payload.split_first() {
        Some((&FORMAT_VERSION, parts)) => Ok(borrow_decode(parts)?),
        Some((&found, _)) => Err(UnreadableSnapshot::Version { found }),
        None => Err(UnreadableSnapshot::Empty),
    }
}

/// Why a snapshot cannot be used. Recovery then takes an older one, or replays everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadableSnapshot {
    #[error("the snapshot is empty")]
    Empty,
    #[error("snapshot format {found} is unknown; this version reads format {FORMAT_VERSION}")]
    Version { found: u8 },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let window = vec![WindowEntry { digest: u128::MAX, offset: 7, at: 9 }];
        let payload = write(&Parts { window: window.clone(), state: b"state" }).unwrap();
        let parts = read(&payload).unwrap();
        assert_eq!((parts.window, parts.state), (window, &b"state"[..]));
    }

    /// Law N14: what cannot be read is an error that recovery can step over.
    #[test]
    fn a_foreign_or_torn_payload_is_refused() {
        assert_eq!(read(&[]).unwrap_err(), UnreadableSnapshot::Empty);
        assert_eq!(read(&[2, 0, 0]).unwrap_err(), UnreadableSnapshot::Version { found: 2 });
        assert!(matches!(read(&[1, 200]), Err(UnreadableSnapshot::Codec(_))));
    }
}
