//! The frame: what travels on a connection after the handshake, and how it is cut out of a stream of bytes.
//!
//! Layout, little endian: length of what follows (u32), CRC32C of what follows it (u32), kind (u8), lane (u8), flags (u8), a zero byte,
//! correlation (u64), body. The length is checked before a byte is allocated for it; nothing is looked at before the checksum held.

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::transport::Lane;

/// Most bytes that the length field may claim. Our own frames stay at [`CHUNK_BYTES`]; the room is for other versions.
pub(crate) const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a body that go into one frame; longer messages are cut. At 1 Gbit/s a chunk holds the line for half a millisecond.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes before the body, length field included.
pub(crate) const HEADER_BYTES: usize = 20;

const LENGTH_BYTES: usize = 4;
const CHECKSUM_END: usize = 8;
/// What the length field counts besides the body.
const COUNTED_BYTES: usize = HEADER_BYTES - LENGTH_BYTES;
const FLAG_MORE: u8 = 1;

/// Room that a read has at least. Small frames by the hundred arrive in one read.
const READ_BYTES: usize = 64 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Wants a [`Kind::Response`] or a [`Kind::Error`] with the same correlation.
    Request = 1,
    /// Wants nothing.
    Notice = 2,
    /// Answers a request.
    Response = 3,
    /// Tells why a request gets no answer; with correlation zero: why the connection ends.
    Error = 4,
    /// Wants a [`Kind::Pong`] with the same correlation.
    Ping = 5,
    /// Answers a ping.
    Pong = 6,
    /// The sender has got a node id (u64) since the handshake.
    Identity = 7,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Request,
            2 => Self::Notice,
            3 => Self::Response,
            4 => Self::Error,
            5 => Self::Ping,
            6 => Self::Pong,
            7 => Self::Identity,
            _ => return None,
        })
    }
}

impl Lane {
    /// All lanes, first served first.
    pub(crate) const ALL: [Self; 3] = [Self::Control, Self::Commands, Self::Bulk];

    fn read(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    /// True when the message goes on in a later frame of the same kind and correlation.
    pub(crate) more: bool,
    pub(crate) correlation: u64,
    pub(crate) body: Bytes,
}

/// Puts a frame at the end of a buffer.
pub(crate) fn put_frame(
    buffer: &mut Vec<u8>,
    (kind, lane, more): (Kind, Lane, bool),
    correlation: u64,
    body: &[u8],
) {
    debug_assert!(body.len() <= MAX_FRAME_BYTES - COUNTED_BYTES);
    let length = u32::try_from(COUNTED_BYTES + body.len()).expect("a frame is below 8 MiB");
    let mut head = [0; HEADER_BYTES];
    head[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    head[8] = kind as u8;
    head[9] = lane as u8;
    head[10] = if more { FLAG_MORE } else { 0 };
    head[12..].copy_from_slice(&correlation.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[CHECKSUM_END..]), body);
    head[LENGTH_BYTES..CHECKSUM_END].copy_from_slice(&checksum.to_le_bytes());
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(body);
}

/// The whole length of the frame that begins at the start of `bytes`, which were written by [`put_frame`].
pub(crate) fn frame_length(bytes: &[u8]) -> usize {
    LENGTH_BYTES + u32_at(bytes, 0) as usize
}

/// The correlation of a frame that was written by [`put_frame`], when it is (a part of) a request.
pub(crate) fn request_of(frame: &[u8]) -> Option<u64> {
    let correlation = frame[12..HEADER_BYTES].try_into().expect("eight bytes");
    (frame[8] == Kind::Request as u8).then(|| u64::from_le_bytes(correlation))
}

/// Cuts frames out of what was read.
#[derive(Debug, Default)]
pub(crate) struct FrameCodec;

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if source.len() < LENGTH_BYTES {
            source.reserve(READ_BYTES);
            return Ok(None);
        }
        let length = u32_at(source, 0) as usize;
        if !(COUNTED_BYTES..=MAX_FRAME_BYTES).contains(&length) {
            return Err(FrameError::Length { length });
        }
        let missing = (LENGTH_BYTES + length).saturating_sub(source.len());
        if missing > 0 {
            source.reserve(missing.max(READ_BYTES));
            return Ok(None);
        }
        let mut frame = source.split_to(LENGTH_BYTES + length).freeze();
        if crc32c::crc32c(&frame[CHECKSUM_END..]) != u32_at(&frame, LENGTH_BYTES) {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::read(frame[8]).ok_or(FrameError::Kind { kind: frame[8] })?;
        let lane = Lane::read(frame[9]).ok_or(FrameError::Lane { lane: frame[9] })?;
        let more = frame[10] & FLAG_MORE != 0;
        let correlation =
            u64::from_le_bytes(frame[12..HEADER_BYTES].try_into().expect("eight bytes"));
        frame.advance(HEADER_BYTES);
        Ok(Some(Frame { kind, lane, more, correlation, body: frame }))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        match self.decode(source)? {
            None if !source.is_empty() => Err(FrameError::CutOff { bytes: source.len() }),
            frame => Ok(frame),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Why bytes are no frame. The connection that they came on is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// A length that no frame has.
    #[error("a frame claims {length} bytes, it has {COUNTED_BYTES} to {MAX_FRAME_BYTES}")]
    Length {
        /// The length claimed.
        length: usize,
    },
    /// The bytes are not those that were sent.
    #[error("the checksum of a frame does not match")]
    Checksum,
    /// A kind of a version that is not spoken here.
    #[error("frame kind {kind} is unknown")]
    Kind {
        /// The kind.
        kind: u8,
    },
    /// A lane of a version that is not spoken here.
    #[error("lane {lane} is unknown")]
    Lane {
        /// The lane.
        lane: u8,
    },
    /// The parts of cut messages that wait for their ends are too long.
    #[error("unfinished messages take more than {allowed} bytes")]
    Unfinished {
        /// The limit.
        allowed: usize,
    },
    /// A frame that this end of a connection does not take.
    #[error("a {kind:?} frame has no place here")]
    Misplaced {
        /// The kind.
        kind: Kind,
    },
    /// The stream ended within a frame.
    #[error("the stream ended {bytes} bytes into a frame")]
    CutOff {
        /// What there was of it.
        bytes: usize,
    },
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(kind: Kind, correlation: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, (kind, Lane::Commands, false), correlation, body);
        bytes
    }

    #[test]
    fn a_frame_has_this_layout() {
        let bytes = encoded(Kind::Request, 0x0102, b"hi");
        assert_eq!(bytes[..4], 18u32.to_le_bytes());
        assert_eq!(bytes[4..8], crc32c::crc32c(&bytes[8..]).to_le_bytes());
        assert_eq!(bytes[8..], [1, 1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn a_claimed_length_beyond_the_limit_allocates_nothing() {
        let mut source = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        let before = source.capacity();
        assert!(matches!(FrameCodec.decode(&mut source), Err(FrameError::Length { .. })));
        assert_eq!(source.capacity(), before);
        let mut source = BytesMut::from(&15u32.to_le_bytes()[..]);
        assert!(matches!(FrameCodec.decode(&mut source), Err(FrameError::Length { length: 15 })));
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let good = encoded(Kind::Request, 7, b"body");
        for bit in 32..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = FrameCodec.decode(&mut BytesMut::from(&bytes[..]));
            assert!(matches!(found, Err(FrameError::Checksum)), "bit {bit}: {found:?}");
        }
    }

    proptest! {
        /// However a stream is cut into reads, the same frames come out.
        #[test]
        fn frames_survive_any_cutting(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20), step in 1usize..64) {
            let stream: Vec<u8> = (0u64..).zip(&bodies).flat_map(|(n, body)| encoded(Kind::Notice, n, body)).collect();
            let mut source = BytesMut::new();
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                source.extend_from_slice(piece);
                while let Some(frame) = FrameCodec.decode(&mut source).unwrap() {
                    found.push(frame.body.to_vec());
                }
            }
            prop_assert_eq!(found, bodies);
        }

        /// Random bytes never panic.
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut source = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = FrameCodec.decode(&mut source) {}
        }
    }
}
