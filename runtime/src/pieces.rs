//! Pieces: many short commands or replies in one piece of memory.
//!
//! What is asked and what is replied are a few bytes that live until the other side has decoded them. An allocation for each would cost more than writing it. A piece
//! is used again when all that stands in it is gone; one of which something is kept for longer stays whole. So what is long has memory of its own, and a short command that waits takes a piece
//! at most: 16 MiB for a mailbox of 8,192, each of whose commands was sent apart from the others.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use holm_persistence::{CodecError, encode, encode_into};
use serde::Serialize;

/// Bytes of one piece: a hundred short replies.
const PIECE: usize = 2 * 1024;

/// What is above this has memory of its own.
const SHORT: usize = PIECE / 8;

thread_local! {
    static OUTGOING: RefCell<Outgoing> = RefCell::default();
}

/// The piece that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Pieces(BytesMut);

/// What a thread sends.
#[derive(Default)]
struct Outgoing {
    /// The command that is being encoded: how long it becomes is known afterwards.
    encoded: Vec<u8>,
    pieces: Pieces,
}

/// Encodes a command that is sent from this thread.
pub(crate) fn encoded<T: Serialize>(command: &T) -> Result<Bytes, CodecError> {
    let in_a_piece = OUTGOING.try_with(|outgoing| {
        let mut outgoing = outgoing.try_borrow_mut().ok()?;
        Some(outgoing.encode(command))
    });
    match in_a_piece {
        Ok(Some(encoded)) => encoded,
        // The thread ends, or encoding one command sends another.
        _ => encode(command),
    }
}

impl Outgoing {
    fn encode<T: Serialize>(&mut self, command: &T) -> Result<Bytes, CodecError> {
        // What a command that could not be encoded has left would go out with the next.
        if self.encoded.capacity() > PIECE {
            self.encoded = Vec::new();
        }
        self.encoded.clear();
        self.encoded.reserve(2 * SHORT);
        encode_into(command, &mut self.encoded)?;
        if self.encoded.len() > SHORT {
            return Ok(std::mem::take(&mut self.encoded).into());
        }
        Ok(self.pieces.keep(&self.encoded))
    }
}

impl Pieces {
    pub(crate) fn keep(&mut self, short: &[u8]) -> Bytes {
        if short.is_empty() {
            return Bytes::new();
        }
        if short.len() > SHORT {
            return Bytes::copy_from_slice(short);
        }
        if self.0.capacity() < short.len() {
            self.0.reserve(PIECE);
        }
        self.0.extend_from_slice(short);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use serde::ser::SerializeTuple;

    use super::*;

    #[test]
    fn what_is_kept_stays_what_it_is() {
        let mut pieces = Pieces::default();
        let lengths = [0, 1, 7, SHORT, SHORT + 1, PIECE, 3 * PIECE];
        let reply = |step: usize| vec![u8::try_from(step % 251).unwrap(); lengths[step % 7]];
        let kept: Vec<_> = (0..2_000).map(|step| pieces.keep(&reply(step))).collect();
        assert!(kept.iter().enumerate().all(|(step, kept)| *kept == reply(step)));
    }

    #[test]
    fn commands_are_what_they_are_when_encoded_alone() {
        let texts = [0, 1, 7, SHORT - 2, SHORT - 1, SHORT, PIECE, 3 * PIECE].map(|n| "x".repeat(n));
        let kept: Vec<_> = (0..2_000).map(|step| encoded(&texts[step % 8]).unwrap()).collect();
        assert!((0..).zip(&kept).all(|(step, kept)| *kept == encode(&texts[step % 8]).unwrap()));
    }

    /// Neither in this thread nor in the next command.
    #[test]
    fn what_is_long_leaves_nothing_behind() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut pair = serializer.serialize_tuple(2)?;
                pair.serialize_element(&"x".repeat(1 << 20))?;
                Err(serde::ser::Error::custom("it has no second half"))
            }
        }
        let mut outgoing = Outgoing::default();
        outgoing.encode(&"x".repeat(1 << 20)).unwrap();
        assert_eq!(outgoing.encoded.capacity(), 0);
        outgoing.encode(&Fails).unwrap_err();
        let next = outgoing.encode(&"x".repeat(2 * SHORT)).unwrap();
        assert!(next.try_into_mut().unwrap().capacity() <= 4 * SHORT);
        outgoing.encode(&7u8).unwrap();
        assert!(outgoing.encoded.capacity() <= PIECE);
    }

    #[test]
    fn encoding_a_command_may_send_another() {
        struct Sends;
        impl Serialize for Sends {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                assert_eq!(encoded(&7u8).unwrap(), encode(&7u8).unwrap());
                serializer.serialize_u8(8)
            }
        }
        assert_eq!(encoded(&Sends).unwrap(), encode(&8u8).unwrap());
        assert_eq!(encoded(&Sends).unwrap(), encode(&8u8).unwrap());
    }

    #[test]
    fn a_piece_is_used_again() {
        let mut pieces = Pieces::default();
        let first = pieces.keep(&[1; 8]).as_ptr() as usize;
        let within = |at: usize| (first..first + PIECE).contains(&at);
        assert!((0..10_000).all(|_| within(pieces.keep(&[2; 8]).as_ptr() as usize)));
    }
}
