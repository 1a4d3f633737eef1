//! What an index holds in memory until it is flushed.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use holm_core::Offset;

/// How far an index has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) watermark: u64,
    pub(super) last_offset: Offset,
}

/// Changes that are not in the tree yet.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    heads: HashMap<Box<[u8]>, Offset>,
    entries: BTreeMap<Offset, u64>,
    log_bytes: usize,
    /// Log bytes since the last entry in `entries`.
    skipped_bytes: usize,
    /// The offset of the first record in `conversations`.
    conversations_from: Offset,
    /// The fingerprint of each record's conversation, record after record; empty where conversations are not indexed.
    conversations: Vec<u32>,
    /// Reused for look-ups, so that a known entity costs no allocation.
    key: Vec<u8>,
}

impl Dirty {
    pub(super) fn put_head(&mut self, entity_type: &str, entity_id: &str, offset: Offset) {
        self.key.clear();
        write_entity_key(&mut self.key, entity_type, entity_id);
        if let Some(head) = self.heads.get_mut(&self.key[..]) {
            *head = offset;
        } else {
            self.heads.insert(self.key[..].into(), offset);
        }
    }

    /// Takes in where a batch is, unless one is known less than `spacing` bytes before it.
    pub(super) fn put_entry(
        &mut self,
        first: Offset,
        entry: u64,
        log_bytes: usize,
        spacing: usize,
    ) {
        self.log_bytes += log_bytes;
        self.skipped_bytes += log_bytes;
        if self.skipped_bytes >= spacing || self.entries.is_empty() {
            self.entries.insert(first, entry);
            self.skipped_bytes = 0;
        }
    }

    /// Goes on with the records from `first` on. What a batch left behind that was refused half way is forgotten.
    pub(super) fn converse_from(&mut self, first: Offset) {
        if self.conversations.is_empty() {
            self.conversations_from = first;
        }
        let kept = first.0.saturating_sub(self.conversations_from.0);
        self.conversations.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    pub(super) fn put_conversation(&mut self, fingerprint: u32) {
        self.conversations.push(fingerprint);
    }

    /// The offset of the first record whose conversation is known here, and the fingerprints from there on.
    pub(super) fn conversations(&self) -> (Offset, &[u32]) {
        (self.conversations_from, &self.conversations)
    }

    /// The offsets from `from` on that stand under a fingerprint.
    pub(super) fn candidates(
        &self,
        fingerprint: u32,
        from: Offset,
    ) -> impl Iterator<Item = Offset> {
        let passed = from.0.saturating_sub(self.conversations_from.0);
        let records = (self.conversations_from.0..).zip(&self.conversations);
        let records = records.skip(usize::try_from(passed).unwrap_or(usize::MAX));
        records.filter(move |(_, it)| **it == fingerprint).map(|(offset, _)| Offset(offset))
    }

    pub(super) fn head(&self, key: &[u8]) -> Option<Offset> {
        self.heads.get(key).copied()
    }

    /// The last known entry whose batch begins at or before `offset`, when it is here.
    pub(super) fn entry_of(&self, offset: Offset) -> Option<u64> {
        self.entries.range(..=offset).next_back().map(|(_, &entry)| entry)
    }

    pub(super) fn changes(&self) -> usize {
        self.heads.len() + self.entries.len()
    }

    pub(super) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes() == 0
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = (&[u8], Offset)> {
        self.heads.iter().map(|(key, &offset)| (&key[..], offset))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Offset, u64)> {
        self.entries.iter().map(|(&offset, &entry)| (offset, entry))
    }
}

/// The key of an entity: neither half can hold a zero byte, so two entities never share one.
pub(super) fn entity_key(entity_type: &str, entity_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(entity_type.len() + entity_id.len() + 1);
    write_entity_key(&mut key, entity_type, entity_id);
    key
}

fn write_entity_key(key: &mut Vec<u8>, entity_type: &str, entity_id: &str) {
    key.extend_from_slice(entity_type.as_bytes());
    key.push(0);
    key.extend_from_slice(entity_id.as_bytes());
}
