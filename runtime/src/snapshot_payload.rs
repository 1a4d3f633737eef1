//! What the runtime stores in a snapshot: a format version, the idempotency window and the state.
//!
//! Layout: one byte, the format version (now 1); then, encoded, the window as a sequence of [`WindowEntry`] from old to new, and the state
//! as bytes. The store adds length and checksum.

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

/// One remembered key, as stored: the lower 96 bits of its digest, and how far offset and time (in seconds since the epoch) are from those of the
/// entry before it, which keeps them to a byte or two. The time is written for people who read snapshots; a restored key counts from its restoration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowEntry {
    pub(crate) low: u64,
    pub(crate) high: u32,
    pub(crate) offset: u64,
    pub(crate) at: u32,
}

/// The payload of a snapshot.
pub(crate) fn write(parts: &Parts<'_>) -> Result<Vec<u8>, CodecError> {
    let mut payload = Vec::with_capacity(1 + parts.state.len() + parts.window.len() * 20);
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
        let window = vec![WindowEntry { low: u64::MAX, high: 1, offset: 7, at: 9 }];
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
