//! The named records of one log, such as a vote or a term, kept in one value with a version.
//!
//! In one value, because a damaged database can lose single updates without a word, and a vote that silently went back would be given twice.
//! The version rises with each change; side file and tail file say how high it must be.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sled::IVec;

use super::LogId;
use super::keys;
use super::value::{self, MAX_PAYLOAD_BYTES};
use crate::codec;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    pub(super) version: u64,
    named: BTreeMap<Box<str>, Bytes>,
}

impl Records {
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        self.named.get(name)
    }

    /// Sets one record; the version rises.
    pub(super) fn put(&mut self, name: &str, record: Bytes) {
        self.named.insert(name.into(), record);
        self.version += 1;
    }

    /// A bound on the bytes that all records take when `name` is set to `length` bytes.
    pub(super) fn bytes_with(&self, name: &str, length: usize) -> usize {
        let others = self.named.iter().filter(|(other, _)| &***other != name);
        let others: usize = others.map(|(name, record)| name.len() + record.len() + 16).sum();
        others + name.len() + length + 32
    }

    /// The key and the value under which they are stored.
    pub(super) fn seal(&self, log: LogId, scratch: &mut Vec<u8>) -> (IVec, IVec) {
        let key = keys::record_key(log);
        let bytes = codec::encode(self).expect("a map of bytes can be encoded");
        assert!(bytes.len() <= MAX_PAYLOAD_BYTES, "the length was checked before");
        let sealed = value::seal(&key, 1, bytes.len(), &bytes, scratch);
        (IVec::from(&key[..]), sealed)
    }

    pub(super) fn unseal(log: LogId, stored: IVec) -> Result<Self, String> {
        let part = value::unseal(&keys::record_key(log), stored)?;
        codec::decode(&part.payload).map_err(|error| error.to_string())
    }
}
