//! What waits for an answer: a bounded table of requests with deadlines.
//!
//! Looking a request up is indexing a vector. Deadlines cost one comparison per request: the table knows the earliest deadline it was ever told
//! since the last look, and is searched only when that has come. With answers in milliseconds and deadlines in seconds that is a search
//! every few seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Deadlines are kept to this precision: a burst of them is one search.
const PRECISION: Duration = Duration::from_millis(2);

/// Requests that wait for answers.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    table: Mutex<Table<T>>,
    /// An earlier deadline than any before came in, or the table was closed.
    earlier: Notify,
    allowed: usize,
}

#[derive(Debug)]
struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    earliest: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Slot<T> {
    /// How often the slot was used: an answer that comes after the deadline must not find the next request in its place.
    round: u32,
    entry: Option<(Instant, T)>,
}

/// Why a request was not taken; it comes back.
#[derive(Debug)]
pub(crate) enum NotWaiting<T> {
    /// The limit is reached.
    Full(T),
    /// The table is closed.
    Closed(T),
}

impl<T: Send> Waiting<T> {
    /// An empty table.
    pub(crate) fn new(allowed: usize) -> Self {
        let allowed = allowed.min(u32::MAX as usize - 1);
        let table = Table { slots: Vec::new(), free: Vec::new(), earliest: None, closed: false };
        Self { table: Mutex::new(table), earlier: Notify::new(), allowed }
    }

    /// Adds a request; returns the id under which it is found again. No id is zero.
    pub(crate) fn add(&self, deadline: Instant, entry: T) -> Result<u64, NotWaiting<T>> {
        let mut table = self.lock();
        if table.closed {
            return Err(NotWaiting::Closed(entry));
        }
        let at = match table.free.pop() {
            Some(at) => at as usize,
            None if table.slots.len() < self.allowed => {
                table.slots.push(Slot { round: 0, entry: None });
                table.slots.len() - 1
            }
            None => return Err(NotWaiting::Full(entry)),
        };
        let slot = &mut table.slots[at];
        slot.round = slot.round.wrapping_add(1).max(1);
        slot.entry = Some((deadline, entry));
        let id = (u64::from(slot.round) << 32) | at as u64;
        if table.earliest.is_none_or(|earliest| deadline < earliest) {
            table.earliest = Some(deadline);
            self.earlier.notify_one();
        }
        Ok(id)
    }

    /// Takes a request out; none when it is not there any more.
    pub(crate) fn take(&self, id: u64) -> Option<T> {
        let mut table = self.lock();
        let at = usize::try_from(id & u64::from(u32::MAX)).ok()?;
        let slot = table.slots.get_mut(at).filter(|slot| u64::from(slot.round) == id >> 32)?;
        let (_, entry) = slot.entry.take()?;
        table.free.push(u32::try_from(at).ok()?);
        Some(entry)
    }

    /// Whether a request is there.
    pub(crate) fn holds(&self, id: u64) -> bool {
        let table = self.lock();
        let slot =
            usize::try_from(id & u64::from(u32::MAX)).ok().and_then(|at| table.slots.get(at));
        slot.is_some_and(|slot| u64::from(slot.round) == id >> 32 && slot.entry.is_some())
    }

    /// Takes everything out; nothing is taken in any more.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut table = self.lock();
        table.closed = true;
        table.free.clear();
        let slots = std::mem::take(&mut table.slots);
        drop(table);
        self.earlier.notify_one();
        slots.into_iter().filter_map(|slot| slot.entry).map(|(_, entry)| entry).collect()
    }

    /// Calls `expired` with each request whose deadline comes, until the table is closed.
    pub(crate) async fn watch(self: Arc<Self>, expired: impl Fn(T)) {
        loop {
            let (earliest, closed) = {
                let table = self.lock();
                (table.earliest, table.closed)
            };
            if closed {
                return;
            }
            match earliest {
                None => self.earlier.notified().await,
                Some(earliest) => {
                    tokio::select! {
                    biased;
                        () = tokio::time::sleep_until(earliest + PRECISION) => {
                            self.take_expired(Instant::now()).into_iter().for_each(&expired);
                        }
                        () = self.earlier.notified() => {}
                    }
                }
            }
        }
    }

    fn take_expired(&self, now: Instant) -> Vec<T> {
        let mut table = self.lock();
        let mut expired = Vec::new();
        let mut earliest = None;
        let Table { slots, free, .. } = &mut *table;
        for (at, slot) in (0u32..).zip(slots.iter_mut()) {
            match &slot.entry {
                Some((deadline, _)) if *deadline <= now => {
                    expired.extend(slot.entry.take().map(|(_, entry)| entry));
                    free.push(at);
                }
                Some((deadline, _)) if earliest.is_none_or(|earliest| *deadline < earliest) => {
                    earliest = Some(*deadline);
                }
                _ => {}
            }
        }
        table.earliest = earliest;
        expired
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table<T>> {
        // Only moves happen under this lock; a panic cannot leave it half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_found_once() {
        let waiting = Waiting::new(8);
        let id = waiting.add(soon(10), "a").unwrap();
        assert_eq!(waiting.take(id), Some("a"));
        assert_eq!(waiting.take(id), None);
        let next = waiting.add(soon(10), "b").unwrap();
        assert_ne!(id, next, "a late answer to the first must not find the second");
        assert_eq!(waiting.take(id), None);
        assert_eq!(waiting.take(u64::MAX), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let waiting = Waiting::new(2);
        let first = waiting.add(soon(10), 1).unwrap();
        waiting.add(soon(10), 2).unwrap();
        assert!(matches!(waiting.add(soon(10), 3), Err(NotWaiting::Full(3))));
        waiting.take(first);
        assert!(waiting.add(soon(10), 3).is_ok());
        assert_eq!(waiting.close().len(), 2);
        assert!(matches!(waiting.add(soon(10), 4), Err(NotWaiting::Closed(4))));
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_come_in_order_whatever_the_order_of_arrival() {
        let waiting = Arc::new(Waiting::new(8));
        let (expired, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let watch = tokio::spawn(waiting.clone().watch(move |entry| {
            let _ = expired.send(entry);
        }));
        waiting.add(soon(50), "late").unwrap();
        tokio::task::yield_now().await;
        waiting.add(soon(20), "early").unwrap();
        assert_eq!(seen.recv().await, Some("early"));
        assert_eq!(seen.recv().await, Some("late"));
        waiting.add(soon(5), "again").unwrap();
        assert_eq!(seen.recv().await, Some("again"));
        waiting.close();
        watch.await.unwrap();
    }
}
