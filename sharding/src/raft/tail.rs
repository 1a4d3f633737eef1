//! The newest entries of one group in memory, bounded by bytes, so that replication and apply neither read the disk nor decode again.

use std::collections::VecDeque;

use super::Entry;
use super::entry::payload_hint;

/// A gap-free run of entries that ends at the end of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    allowed_bytes: usize,
}

/// What one entry costs besides its payload.
const ENTRY_OVERHEAD_BYTES: usize = 128;

impl Tail {
    /// An empty tail; the next entry may have any index.
    pub(crate) fn new(allowed_bytes: usize) -> Self {
        Self { first: 0, entries: VecDeque::new(), bytes: 0, allowed_bytes }
    }

    /// Adds the entry after the last; an entry elsewhere starts the run anew.
    pub(crate) fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index();
        if self.entries.is_empty() || index != self.end() {
            self.clear();
            self.first = index;
        }
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
    }

    /// Forgets the oldest entries below `settled` until the rest is within the limit. Entries that are not durable yet must stay: nobody
    /// could read them anywhere else.
    pub(crate) fn shrink(&mut self, settled: u64) {
        while self.bytes > self.allowed_bytes && self.first < settled {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= cost(&entry);
            self.first += 1;
        }
    }

    /// Forgets the entries at `from` and after it.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.end() > from {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= cost(&entry);
        }
    }

    /// Copies of the entries in `from..to`, as far as they are here from `from` on without a gap.
    pub(crate) fn read(&self, from: u64, to: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        if from < self.first || from >= self.end() {
            return None;
        }
        let start = usize::try_from(from - self.first).ok()?;
        let count = usize::try_from(to.min(self.end()) - from).ok()?;
        let mut bytes = 0;
        let mut read = Vec::with_capacity(count.min(64));
        for entry in self.entries.iter().skip(start).take(count) {
            bytes += payload_hint(entry);
            if !read.is_empty() && bytes > max_bytes {
                break;
            }
            read.push(entry.clone());
        }
        Some(read)
    }

    /// The index of the oldest entry here.
    pub(crate) fn first(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

fn cost(entry: &Entry) -> usize {
    payload_hint(entry) + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::Payload;
    use crate::raft::entry::log_id;

    fn entry(index: u64, bytes: usize) -> Entry {
        let payload = EntryPayload::Normal(Payload(Bytes::from(vec![0; bytes])));
        Entry { log_id: log_id(1, index), payload }
    }

    fn indexes(read: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        read.map(|entries| entries.iter().map(|entry| entry.log_id.index()).collect())
    }

    #[test]
    fn the_oldest_go_when_the_limit_is_passed_but_never_what_is_not_settled() {
        let mut tail = Tail::new(3 * (100 + ENTRY_OVERHEAD_BYTES));
        for index in 5..10 {
            tail.push(entry(index, 100));
        }
        tail.shrink(6);
        assert_eq!(indexes(tail.read(6, 10, usize::MAX)), Some(vec![6, 7, 8, 9]));
        tail.shrink(10);
        assert_eq!(indexes(tail.read(6, 10, usize::MAX)), None);
        assert_eq!(indexes(tail.read(7, 10, usize::MAX)), Some(vec![7, 8, 9]));
    }

    #[test]
    fn a_read_is_bounded_by_bytes_but_never_empty() {
        let mut tail = Tail::new(usize::MAX);
        for index in 0..4 {
            tail.push(entry(index, 100));
        }
        assert_eq!(indexes(tail.read(1, 4, 250)), Some(vec![1, 2]));
        assert_eq!(indexes(tail.read(1, 4, 1)), Some(vec![1]));
    }

    #[test]
    fn truncation_and_a_jump_forget_what_is_no_longer_in_the_log() {
        let mut tail = Tail::new(usize::MAX);
        for index in 0..4 {
            tail.push(entry(index, 1));
        }
        tail.truncate(2);
        assert_eq!(indexes(tail.read(0, 9, usize::MAX)), Some(vec![0, 1]));
        tail.push(entry(7, 1));
        assert_eq!(indexes(tail.read(0, 9, usize::MAX)), None);
        assert_eq!(indexes(tail.read(7, 9, usize::MAX)), Some(vec![7]));
    }
}
