//! A transaction: what it changes lies over the tree until it is applied, so that it reads what it wrote and leaves nothing when it fails.

use std::collections::BTreeMap;

use sled::{Batch, Tree};

use crate::view::ViewError;

/// Bytes of a key. Longer ones make the pages of the tree long.
const KEY: usize = 1_024;

/// Bytes of a value: what sled was measured to be safe with.
const VALUE: usize = 32 * 1_024;

/// Bytes of keys and values that one transaction may change: it is held in memory, twice while it is applied.
const TRANSACTION: usize = 32 * 1_024 * 1_024;

/// The first byte of the keys of rows, and of ours.
const ROWS: u8 = b'r';
const OURS: u8 = b'h';

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a handler writes through: keys and values of its view. It sees what it wrote.
#[derive(Debug)]
pub struct SledTransaction<'t> {
    tree: &'t Tree,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

/// Why a row cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// A limit: it is a key of at most 1,024 bytes, a value of at most 32 KiB, changes of at most 32 MiB in one transaction.
    #[error("{what} has {found} bytes, and {allowed} are allowed")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// What is allowed.
        allowed: usize,
        /// What it is.
        found: usize,
    },
    /// What is stored is not what was written.
    #[error("what is stored under {what} is damaged")]
    Damaged {
        /// What.
        what: &'static str,
    },
    /// The store.
    #[error("the store failed: {0}")]
    Store(#[source] sled::Error),
}

impl<'t> SledTransaction<'t> {
    pub(super) fn on(tree: &'t Tree) -> Self {
        Self { tree, changes: BTreeMap::new(), bytes: 0 }
    }

    /// The value under this key.
    ///
    /// # Errors
    /// [`RowError`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, RowError> {
        self.look(&under(ROWS, key.as_ref()))
    }

    /// Puts a value under this key.
    ///
    /// # Errors
    /// [`RowError`]. The transaction may go on.
    pub fn insert(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), RowError> {
        self.change(under(ROWS, key.as_ref()), Some(value.as_ref().to_owned()))
    }

    /// Removes what is under this key, if there is anything.
    ///
    /// # Errors
    /// As [`SledTransaction::insert`].
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<(), RowError> {
        self.change(under(ROWS, key.as_ref()), None)
    }

    /// The rows whose keys begin so, in the order of their keys, up to `limit`.
    ///
    /// # Errors
    /// [`RowError`].
    pub fn scan(&self, prefix: impl AsRef<[u8]>, limit: usize) -> Result<Vec<Row>, RowError> {
        self.rows(&under(ROWS, prefix.as_ref()), limit)
    }

    pub(super) fn ours(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        self.look(&under(OURS, key))
    }

    pub(super) fn put_ours(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), RowError> {
        self.change(under(OURS, key), value)
    }

    pub(super) fn scan_ours(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, RowError> {
        self.rows(&under(OURS, prefix), limit)
    }

    /// What is to be applied; none when nothing is.
    pub(super) fn batch(self) -> Option<Batch> {
        if self.changes.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Some(batch)
    }

    fn look(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => Ok(self.tree.get(key).map_err(RowError::Store)?.map(|value| value.to_vec())),
        }
    }

    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), RowError> {
        let length = value.as_ref().map_or(0, Vec::len);
        within("a key", key.len(), KEY)?;
        within("a value", length, VALUE)?;
        let replaced = self.changes.get(&key);
        let replaced = replaced.map_or(0, |old| key.len() + old.as_ref().map_or(0, Vec::len));
        let bytes = self.bytes + key.len() + length - replaced;
        within("a transaction", bytes, TRANSACTION)?;
        self.bytes = bytes;
        self.changes.insert(key, value);
        Ok(())
    }

    /// The tree with the changes over it.
    fn rows(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, RowError> {
        let mut stored = self.tree.scan_prefix(prefix).peekable();
        let changed = self.changes.range(prefix.to_vec()..);
        let mut changed = changed.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let stored_first = match (stored.peek(), changed.peek()) {
                (None, None) => break,
                (Some(Err(_)), _) | (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(Ok((key, _))), Some((changed, _))) => **key < ***changed,
            };
            if stored_first {
                let Some(row) = stored.next() else { break };
                let (key, value) = row.map_err(RowError::Store)?;
                rows.push((key[1..].to_vec(), value.to_vec()));
                continue;
            }
            let Some((key, value)) = changed.next() else { break };
            // The same key below it counts no more.
            if matches!(stored.peek(), Some(Ok((below, _))) if **below == **key) {
                stored.next();
            }
            rows.extend(value.as_ref().map(|value| (key[1..].to_vec(), value.clone())));
        }
        Ok(rows)
    }
}

pub(super) fn row_key(key: &[u8]) -> Vec<u8> {
    under(ROWS, key)
}

fn under(first: u8, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(key.len() + 1);
    whole.push(first);
    whole.extend_from_slice(key);
    whole
}

fn within(what: &'static str, found: usize, allowed: usize) -> Result<(), RowError> {
    if found <= allowed { Ok(()) } else { Err(RowError::TooLong { what, allowed, found }) }
}

impl From<RowError> for ViewError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Store(sled::Error::Io(error)) => Self::Passing { reason: error.to_string() },
            other => Self::Broken { reason: other.to_string() },
        }
    }
}
