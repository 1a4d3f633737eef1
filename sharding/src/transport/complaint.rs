//! The body of an error frame: why a request gets no answer, or why a connection ends.
//!
//! Layout: code (u8), a number (u64, little endian: the limit, when one was passed), the reason in UTF-8.

use std::net::SocketAddr;

use holm_core::Limit;

use crate::transport::PeerError;

/// Longest reason that is sent; the rest is cut off.
const MAX_REASON_BYTES: usize = 1024;

/// Why a request gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It was taken and dropped.
    Dropped { reason: String },
    /// Too many requests wait for answers on this connection. It was not taken.
    Overloaded { allowed: u64 },
    /// It cannot be understood; the connection ends.
    Unknown { reason: String },
}

impl Complaint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (code, number, reason) = match self {
            Self::Dropped { reason } => (1u8, 0, reason.as_str()),
            Self::Overloaded { allowed } => (2, *allowed, ""),
            Self::Unknown { reason } => (3, 0, reason.as_str()),
        };
        let mut bytes = vec![code];
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON_BYTES)]);
        bytes
    }

    /// Reads the body of an error frame. What cannot be read is a request that was dropped, which promises least.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let Some((&[code, ref number @ ..], reason)) = body.split_first_chunk::<9>() else {
            return Self::Dropped { reason: "an error frame that cannot be read".to_owned() };
        };
        let number = number.first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        let reason = String::from_utf8_lossy(reason).escape_debug().collect();
        match code {
            2 => Self::Overloaded { allowed: number },
            3 => Self::Unknown { reason },
            _ => Self::Dropped { reason },
        }
    }

    /// What the one who asked is told.
    pub(crate) fn into_error(self, address: SocketAddr) -> PeerError {
        match self {
            Self::Dropped { reason } | Self::Unknown { reason } => {
                PeerError::Dropped { address, reason: reason.into() }
            }
            Self::Overloaded { allowed } => {
                PeerError::Overloaded { address, limit: Limit::RequestsInFlight, allowed }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn complaints_read_back() {
        for complaint in [
            Complaint::Dropped { reason: "why".into() },
            Complaint::Overloaded { allowed: 7 },
            Complaint::Unknown { reason: String::new() },
        ] {
            assert_eq!(Complaint::decode(&complaint.encode()), complaint);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Complaint::decode(&body);
        }
    }
}
