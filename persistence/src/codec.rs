//! The codec of everything stored and sent: bincode 2 in its standard configuration, behind four functions.
//!
//! bincode trusts the lengths that it reads: without a limit ten bytes that claim 2^40 items abort the process. So every decode has a
//! byte limit, and all input must be used up. Types that are decoded must not be recursive and must not hold sequences of
//! zero-sized items, because neither costs input bytes and no limit stops them.

use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;

/// Most bytes that one value may take, encoded or while being decoded. Above the frame limit, so that a frame fails first.
pub const MAX_ENCODED_BYTES: usize = 16 * 1024 * 1024;

/// What is no longer is encoded on the stack first.
const SHORT_BYTES: usize = 128;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MAX_ENCODED_BYTES>,
> = bincode::config::standard().with_limit::<MAX_ENCODED_BYTES>();

/// Encodes a value into bytes of its own.
///
/// # Errors
/// [`CodecError::Encode`] when the type cannot be encoded, for example because it asks for its length to be left out.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    // Most values are short. Through the stack they take one allocation of their own length, and none when they are empty.
    let mut short = [0; SHORT_BYTES];
    match bincode::serde::encode_into_slice(value, &mut short, CONFIG) {
        Ok(0) => return Ok(Bytes::new()),
        Ok(length) => return Ok(Bytes::copy_from_slice(&short[..length])),
        Err(_) => {}
    }
    let mut bytes = Vec::with_capacity(4 * SHORT_BYTES);
    encode_into(value, &mut bytes)?;
    Ok(bytes.into())
}

/// Encodes a value at the end of `buffer`; returns how many bytes were added. On error the buffer is as before.
///
/// # Errors
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
) -> Result<usize, CodecError> {
    let start = buffer.len();
    match bincode::serde::encode_into_writer(value, AtTheEnd(buffer), CONFIG) {
        Ok(()) => Ok(buffer.len() - start),
        Err(error) => {
            buffer.truncate(start);
            Err(CodecError::Encode {
                type_name: std::any::type_name::<T>(),
                reason: error.to_string(),
            })
        }
    }
}

/// Writes at the end of a buffer. bincode's own way into one goes by `std::io::Write`, which counts every few bytes and turns every error into another.
struct AtTheEnd<'a>(&'a mut Vec<u8>);

impl Writer for AtTheEnd<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes a value that owns what it holds.
///
/// # Errors
/// [`CodecError`] when the bytes are no such value or some are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let decoded = bincode::serde::decode_from_slice(bytes, CONFIG);
    complete(decoded, bytes.len())
}

/// Decodes a value that may borrow from the bytes.
///
/// # Errors
/// As [`decode`].
pub fn borrow_decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let decoded = bincode::serde::borrow_decode_from_slice(bytes, CONFIG);
    complete(decoded, bytes.len())
}

/// Decodes a value at the beginning of the bytes, says how many it took and leaves the rest alone.
pub(crate) fn borrow_decode_prefix<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<(T, usize), CodecError> {
    let decoded = bincode::serde::borrow_decode_from_slice(bytes, CONFIG);
    decoded.map_err(|error| CodecError::Decode {
        type_name: std::any::type_name::<T>(),
        reason: error.to_string(),
    })
}

fn complete<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    length: usize,
) -> Result<T, CodecError> {
    let type_name = std::any::type_name::<T>();
    let (value, used) =
        decoded.map_err(|error| CodecError::Decode { type_name, reason: error.to_string() })?;
    if used != length {
        return Err(CodecError::LeftOver { type_name, bytes: length - used });
    }
    Ok(value)
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be encoded.
    #[error("cannot encode {type_name}: {reason}")]
    Encode {
        /// The type.
        type_name: &'static str,
        /// What the encoder said.
        reason: String,
    },
    /// The bytes are no such value.
    #[error("cannot decode {type_name}: {reason}")]
    Decode {
        /// The type.
        type_name: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The encoded value is longer than any decoder accepts.
    #[error("an encoded value has {length} bytes, {MAX_ENCODED_BYTES} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The value ends before the bytes do.
    #[error("{bytes} bytes are left over behind {type_name}")]
    LeftOver {
        /// The type.
        type_name: &'static str,
        /// How many.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_beyond_the_input_is_an_error_and_allocates_nothing() {
        // Varint marker 253: a u64 follows. It claims 2^40 items.
        let mut bomb = vec![253];
        bomb.extend_from_slice(&(1u64 << 40).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&bomb), Err(CodecError::Decode { .. })));
        assert!(matches!(decode::<Vec<u64>>(&bomb), Err(CodecError::Decode { .. })));
        assert!(matches!(decode::<String>(&bomb), Err(CodecError::Decode { .. })));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut bytes = encode(&7u32).unwrap().to_vec();
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(CodecError::LeftOver { bytes: 1, .. })));
    }

    #[test]
    fn a_failed_encode_leaves_the_buffer_as_it_was() {
        let endless = serde_bytes::ByteBuf::from(vec![0; MAX_ENCODED_BYTES + 1]);
        let mut buffer = vec![1, 2, 3];
        if encode_into(&endless, &mut buffer).is_err() {
            assert_eq!(buffer, [1, 2, 3]);
        }
    }
}
