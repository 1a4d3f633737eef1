//! The values of the database: how something long becomes parts of at most 32 KiB, and how parts are verified and joined.
//!
//! A value is a header of 12 bytes (format version 1, zero, number of parts (u16), length of the whole (u32), CRC32C of key, these eight bytes
//! and the payload (u32); little endian), then the payload. The key of a part ends with its number (u16, big endian).

use bytes::Bytes;
use sled::IVec;

/// Most bytes of one value, header included. At 30 KB a value survived every power cut; from 120 KB on sled moves values to files that it
/// does not sync, and the database would not open afterwards.
pub(crate) const MAX_VALUE_BYTES: usize = 32 * 1024;

/// Bytes before the payload of a part.
pub(crate) const HEADER_BYTES: usize = 12;

/// Most bytes of a payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_VALUE_BYTES - HEADER_BYTES;

/// Most bytes of one entry: eight times the frame between nodes, far below the 65,535 parts that a key can number.
pub(crate) const MAX_ENTRY_BYTES: usize = 64 * 1024 * 1024;

const FORMAT_VERSION: u8 = 1;
const CHECKSUM_AT: usize = 8;
/// The number of parts of an entry of `length` bytes; an empty entry has one part too.
pub(crate) fn part_count(length: usize) -> u16 {
    u16::try_from(length.div_ceil(MAX_PAYLOAD_BYTES).max(1))
        .expect("MAX_ENTRY_BYTES bounds the parts")
}

/// Cuts `value` into parts and hands each to `take` with the key that `key_of` gives it. `scratch` is reused between calls.
pub(crate) fn cut<K: AsRef<[u8]>>(
    value: &[u8],
    scratch: &mut Vec<u8>,
    key_of: impl Fn(u16) -> K,
    mut take: impl FnMut(K, IVec),
) {
    let parts = part_count(value.len());
    for part in 0..parts {
        let start = usize::from(part) * MAX_PAYLOAD_BYTES;
        let end = (start + MAX_PAYLOAD_BYTES).min(value.len());
        let key = key_of(part);
        let sealed = seal(key.as_ref(), parts, value.len(), &value[start..end], scratch);
        take(key, sealed);
    }
}

/// A value: header and payload.
pub(crate) fn seal(
    key: &[u8],
    parts: u16,
    length: usize,
    payload: &[u8],
    scratch: &mut Vec<u8>,
) -> IVec {
    scratch.clear();
    scratch.extend_from_slice(&[FORMAT_VERSION, 0]);
    scratch.extend_from_slice(&parts.to_le_bytes());
    let length = u32::try_from(length).expect("MAX_ENTRY_BYTES is below 4 GiB");
    scratch.extend_from_slice(&length.to_le_bytes());
    let checksum = checksum(key, scratch, payload);
    scratch.extend_from_slice(&checksum.to_le_bytes());
    scratch.extend_from_slice(payload);
    IVec::from(&scratch[..])
}

/// A verified part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) parts: u16,
    pub(crate) length: usize,
    pub(crate) payload: Bytes,
}

/// Verifies a value; the payload shares its memory.
pub(crate) fn unseal(key: &[u8], value: IVec) -> Result<Part, String> {
    if value.len() < HEADER_BYTES {
        return Err(format!("a part of {} bytes is shorter than its header", value.len()));
    }
    if value[0] != FORMAT_VERSION {
        return Err(format!("format {} is unknown; this version reads format 1", value[0]));
    }
    let stored = u32::from_le_bytes(four(&value[CHECKSUM_AT..HEADER_BYTES]));
    if checksum(key, &value[..CHECKSUM_AT], &value[HEADER_BYTES..]) != stored {
        return Err("the checksum of a part does not match".to_owned());
    }
    let parts = u16::from_le_bytes([value[2], value[3]]);
    let length = u32::from_le_bytes(four(&value[4..8])) as usize;
    Ok(Part { parts, length, payload: Bytes::from_owner(value).slice(HEADER_BYTES..) })
}

fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, header);
    crc32c::crc32c_append(crc, payload)
}

/// Makes the checksum of a changed value right again, so that what lies behind it is reached.
#[cfg(any(test, fuzzing))]
pub(crate) fn repair_checksum(key: &[u8], value: &mut [u8]) {
    if value.len() >= HEADER_BYTES {
        let checksum = checksum(key, &value[..CHECKSUM_AT], &value[HEADER_BYTES..]);
        value[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("four bytes")
}

/// Joins the parts of one entry; every part must be there, and all must say the same. The last two bytes of a key are the part's number.
pub(crate) fn join(parts: &[(IVec, IVec)]) -> Result<Bytes, String> {
    let Some((key, value)) = parts.first() else { return Err("it is missing".to_owned()) };
    let first = unseal(key, value.clone())?;
    if usize::from(first.parts) != parts.len() {
        return Err(format!("{} of its {} parts are there", parts.len(), first.parts));
    }
    // Before anything of that length is allocated.
    if first.length > parts.len() * MAX_PAYLOAD_BYTES {
        let most = parts.len() * MAX_PAYLOAD_BYTES;
        return Err(format!("its parts hold at most {most} bytes, not {}", first.length));
    }
    let entry = if parts.len() == 1 {
        first.payload
    } else {
        let mut joined = Vec::with_capacity(first.length);
        for (number, (key, value)) in parts.iter().enumerate() {
            let part = unseal(key, value.clone())?;
            if key.get(key.len().wrapping_sub(2)..) != Some(&part_number(number)[..]) {
                return Err(format!("its part {number} is missing"));
            }
            if (part.parts, part.length) != (first.parts, first.length) {
                return Err("its parts belong to different entries".to_owned());
            }
            joined.extend_from_slice(&part.payload);
        }
        joined.into()
    };
    if entry.len() == first.length {
        Ok(entry)
    } else {
        Err(format!("it has {} bytes instead of {}", entry.len(), first.length))
    }
}

fn part_number(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_longer_than_the_limit_and_every_flipped_bit_is_seen() {
        let entry = vec![7; MAX_PAYLOAD_BYTES + 1];
        let mut values = Vec::new();
        let key_of = |part: u16| [&b"key"[..], &part.to_be_bytes()].concat();
        cut(&entry, &mut Vec::new(), key_of, |key, value| values.push((IVec::from(key), value)));
        assert_eq!(join(&values).unwrap(), entry);
        assert!(join(&values[..1]).is_err() && join(&values[1..]).is_err());
        assert_eq!(values.len(), 2);
        assert_eq!(values[0].1.len(), MAX_VALUE_BYTES);
        let (key, value) = &values[1];
        for bit in 0..value.len() * 8 {
            let mut bytes = value.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(key, IVec::from(bytes)).is_err(), "bit {bit}");
        }
        assert!(unseal(&values[0].0, value.clone()).is_err(), "a part under another key");
    }

    /// A golden value: format 1 stays readable.
    #[test]
    fn format_1_stays_readable() {
        let stored = [1, 0, 1, 0, 3, 0, 0, 0, CRC[0], CRC[1], CRC[2], CRC[3], b'a', b'b', b'c'];
        let part = unseal(b"key", IVec::from(&stored)).unwrap();
        assert_eq!((part.parts, part.length, &part.payload[..]), (1, 3, &b"abc"[..]));
        assert_eq!(seal(b"key", 1, 3, b"abc", &mut Vec::new()), IVec::from(&stored));
    }

    /// CRC32C (Castagnoli) of "key", the first eight bytes and "abc", computed by another implementation.
    const CRC: [u8; 4] = [0xB9, 0xBB, 0xDD, 0x4C];
}
