//! The newest memberships that stand in the log of one group, kept beside the log so that opening it does not have to search for them.
//!
//! They are written in the same commit as the entries that hold them. At most one membership at a time is uncommitted, so a few are
//! enough to find one at or below any index that a state machine may have reached.

use std::io;

use bytes::Bytes;
use holm_persistence::{decode, encode};
use serde::{Deserialize, Serialize};

use super::entry::{log_id, term_of};
use super::{Entry, Membership, StoredMembership};

/// How many are kept: one may be uncommitted, one is in force, the rest is for an index that lags.
const KEPT: usize = 8;

/// The newest memberships in the order of their indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memberships(Vec<Place>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    term: u64,
    index: u64,
    membership: Membership,
}

impl Memberships {
    /// Reads them back.
    pub(crate) fn from_bytes(bytes: Option<Bytes>) -> io::Result<Self> {
        bytes.map_or_else(|| Ok(Self::default()), |bytes| decode(&bytes).map_err(io::Error::other))
    }

    /// Their stored form.
    pub(crate) fn to_bytes(&self) -> io::Result<Bytes> {
        encode(self).map_err(io::Error::other)
    }

    /// Takes note of an appended entry; true when it held a membership.
    pub(crate) fn note(&mut self, entry: &Entry) -> bool {
        let openraft::EntryPayload::Membership(membership) = &entry.payload else {
            return false;
        };
        let (term, index) = (term_of(&entry.log_id), entry.log_id.index());
        self.truncate(index);
        self.0.push(Place { term, index, membership: membership.clone() });
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
        true
    }

    /// Forgets those at `from` and after it; true when there was one.
    pub(crate) fn truncate(&mut self, from: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|place| place.index < from);
        before != self.0.len()
    }

    /// The newest that is known, whether or not it is committed: it is the one that counts.
    pub(crate) fn newest(&self) -> Option<&Membership> {
        self.0.last().map(|place| &place.membership)
    }

    /// The newest at or below `index`, else the oldest known.
    pub(crate) fn at(&self, index: u64) -> StoredMembership {
        let place = self.0.iter().rev().find(|place| place.index <= index).or(self.0.first());
        place.map_or_else(StoredMembership::default, |place| {
            StoredMembership::new(Some(log_id(place.term, place.index)), place.membership.clone())
        })
    }
}
