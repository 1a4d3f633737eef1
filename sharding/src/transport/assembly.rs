//! Puts messages together that were cut into several frames.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use crate::transport::frame::{Frame, FrameError, Kind};

/// The unfinished messages of one connection.
#[derive(Debug)]
pub(crate) struct Assembly {
    unfinished: HashMap<(Kind, u64), BytesMut>,
    bytes: usize,
    allowed: usize,
}

impl Assembly {
    /// Nothing unfinished; at most `allowed` bytes may be.
    pub(crate) fn new(allowed: usize) -> Self {
        Self { unfinished: HashMap::new(), bytes: 0, allowed }
    }

    /// The bytes that wait for the ends of their messages.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a frame; returns the whole message when this was its last part.
    pub(crate) fn take(&mut self, frame: Frame) -> Result<Option<Bytes>, FrameError> {
        let place = (frame.kind, frame.correlation);
        // Almost every message is one frame: then nothing is looked up and nothing is copied.
        if !frame.more && (self.unfinished.is_empty() || !self.unfinished.contains_key(&place)) {
            return Ok(Some(frame.body));
        }
        self.bytes += frame.body.len();
        // An empty part costs memory too: the entry of its message.
        if self.bytes > self.allowed || self.unfinished.len() > self.allowed / 1024 {
            return Err(FrameError::Unfinished { allowed: self.allowed });
        }
        let parts = self.unfinished.entry(place).or_default();
        parts.extend_from_slice(&frame.body);
        if frame.more {
            return Ok(None);
        }
        let whole = self.unfinished.remove(&place).unwrap_or_default();
        self.bytes -= whole.len();
        Ok(Some(whole.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Lane;

    fn part(correlation: u64, more: bool, body: &'static str) -> Frame {
        let body = Bytes::from_static(body.as_bytes());
        Frame { kind: Kind::Request, lane: Lane::Bulk, more, correlation, body }
    }

    #[test]
    fn interleaved_messages_come_out_whole() {
        let mut assembly = Assembly::new(1 << 20);
        assert_eq!(assembly.take(part(1, true, "a")).unwrap(), None);
        assert_eq!(assembly.take(part(2, true, "x")).unwrap(), None);
        assert_eq!(assembly.take(part(3, false, "alone")).unwrap().unwrap(), "alone");
        assert_eq!(assembly.take(part(1, true, "b")).unwrap(), None);
        assert_eq!(assembly.take(part(2, false, "y")).unwrap().unwrap(), "xy");
        assert_eq!(assembly.take(part(1, false, "c")).unwrap().unwrap(), "abc");
        assert_eq!(assembly.bytes, 0);
    }

    #[test]
    fn unfinished_messages_are_bounded_by_bytes_and_by_number() {
        let mut assembly = Assembly::new(3000);
        assert!(assembly.take(part(1, true, "abc")).is_ok());
        let mut last = Ok(None);
        for correlation in 2..10 {
            last = assembly.take(part(correlation, true, ""));
            if last.is_err() {
                break;
            }
        }
        assert!(matches!(last, Err(FrameError::Unfinished { allowed: 3000 })));
        let mut assembly = Assembly::new(4);
        assert!(assembly.take(part(1, true, "abcde")).is_err());
    }
}
