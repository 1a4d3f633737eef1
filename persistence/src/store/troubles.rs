//! The indexes of a store that had to be given up, kept until somebody asks: when an index is opened nobody is there yet who could tell.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::LogId;

/// An index that was given up; it is built anew from its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTrouble {
    /// The log whose index it is.
    pub log: LogId,
    /// Why.
    pub reason: Box<str>,
}

/// What nobody asked for yet: the newest of each log, so there are no more than logs.
#[derive(Debug, Default)]
pub(super) struct IndexTroubles(Mutex<BTreeMap<LogId, Box<str>>>);

impl IndexTroubles {
    pub(super) fn note(&self, log: LogId, reason: &str) {
        self.lock().insert(log, reason.into());
    }

    pub(super) fn take(&self) -> Vec<IndexTrouble> {
        let troubles = std::mem::take(&mut *self.lock());
        troubles.into_iter().map(|(log, reason)| IndexTrouble { log, reason }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogId, Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
