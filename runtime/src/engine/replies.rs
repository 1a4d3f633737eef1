//! The bytes of replies: many short ones in one piece of memory.
//!
//! A reply is a few bytes that live until its caller has decoded them. An allocation for each would cost more than writing it. A piece is used again when all the
//! replies in it are gone; one that is kept for longer keeps its piece, which is why long replies have memory of their own.

use bytes::{Bytes, BytesMut};

/// Bytes of one piece: a hundred short replies.
const PIECE: usize = 2 * 1024;

/// A reply above this has memory of its own.
const SHORT: usize = PIECE / 8;

#[derive(Debug, Default)]
pub(super) struct Replies(BytesMut);

impl Replies {
    pub(super) fn keep(&mut self, reply: &[u8]) -> Bytes {
        if reply.is_empty() || reply.len() > SHORT {
            return Bytes::copy_from_slice(reply);
        }
        if self.0.capacity() < reply.len() {
            self.0.reserve(PIECE);
        }
        self.0.extend_from_slice(reply);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_stay_what_they_are() {
        let mut replies = Replies::default();
        let lengths = [0, 1, 7, SHORT, SHORT + 1, PIECE, 3 * PIECE];
        let reply = |step: usize| vec![u8::try_from(step % 251).unwrap(); lengths[step % 7]];
        let kept: Vec<_> = (0..2_000).map(|step| replies.keep(&reply(step))).collect();
        assert!(kept.iter().enumerate().all(|(step, kept)| *kept == reply(step)));
    }

    #[test]
    fn a_piece_is_used_again() {
        let mut replies = Replies::default();
        let first = replies.keep(&[1; 8]).as_ptr() as usize;
        let within = |at: usize| (first..first + PIECE).contains(&at);
        assert!((0..10_000).all(|_| within(replies.keep(&[2; 8]).as_ptr() as usize)));
    }
}
