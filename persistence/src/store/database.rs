//! The database under a store: four ordered trees of bytes. sled in production, a simulated disk in a simulation.
//!
//! Narrow on purpose: what [`super::engine`] adds (one writer at a time, containment of panics, the first failure kept) is the same over both.

use std::fmt;
use std::io;
use std::ops::{Bound, ControlFlow, RangeBounds};

use sled::IVec;

/// The derived data in trees of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derived {
    Index,
    Snapshots,
    Trims,
}

/// One tree of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    Log,
    Derived(Derived),
}

/// Changes of one tree, in order; a later change of a key replaces an earlier one. After a crash all of them are there or none, unless they are
/// [separable](Changes::separable).
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(super) pairs: Vec<(IVec, Option<IVec>)>,
    pub(super) separable: bool,
}

impl Changes {
    pub(crate) fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.pairs.push((key.into(), Some(value.into())));
    }

    pub(crate) fn remove(&mut self, key: impl Into<IVec>) {
        self.pairs.push((key.into(), None));
    }

    /// Each of these changes means something by itself: a crash may leave the first of them. That is cheaper to write.
    pub(crate) fn separable(self) -> Self {
        Self { separable: true, ..self }
    }
}

impl FromIterator<(IVec, Option<IVec>)> for Changes {
    fn from_iter<I: IntoIterator<Item = (IVec, Option<IVec>)>>(changes: I) -> Self {
        Self { pairs: changes.into_iter().collect(), separable: false }
    }
}

/// A range of keys.
pub(super) type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The order in which keys are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// Sees one key and its value; says whether it wants the next.
pub(super) type Visit<'a> = &'a mut dyn FnMut(IVec, IVec) -> ControlFlow<()>;

/// An opened database. sled's error stands for every database: an I/O error is what a simulated one has.
pub(super) trait Database: fmt::Debug + Send + Sync {
    fn get(&self, tree: Tree, key: &[u8]) -> sled::Result<Option<IVec>>;

    /// Visits the pairs of a range until there are no more or `visit` breaks.
    fn visit(
        &self,
        tree: Tree,
        range: KeyRange<'_>,
        order: Order,
        visit: Visit<'_>,
    ) -> sled::Result<()>;

    /// Readable at once, durable after [`Database::flush`] and [`Database::sync`]. What is lost in a crash is lost from the end.
    fn apply(&self, tree: Tree, changes: Changes) -> sled::Result<()>;

    /// Hands everything applied to the operating system.
    fn flush(&self) -> sled::Result<()>;

    /// The real fsync.
    fn sync(&self) -> io::Result<()>;
}

/// One tree, to be read.
#[derive(Clone, Copy)]
pub(crate) struct TreeView<'a> {
    database: &'a dyn Database,
    tree: Tree,
}

impl<'a> TreeView<'a> {
    pub(super) fn new(database: &'a dyn Database, tree: Tree) -> Self {
        Self { database, tree }
    }

    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> sled::Result<Option<IVec>> {
        self.database.get(self.tree, key.as_ref())
    }

    /// Visits the pairs of a range in order.
    pub(crate) fn visit<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        visit: impl FnMut(IVec, IVec) -> ControlFlow<()>,
    ) -> sled::Result<()> {
        self.visit_in(Order::Ascending, &range, visit)
    }

    /// Visits the pairs whose keys begin with `prefix`, in order.
    pub(crate) fn visit_prefix(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(IVec, IVec) -> ControlFlow<()>,
    ) -> sled::Result<()> {
        self.visit(prefix.., |key, value| {
            if key.starts_with(prefix) { visit(key, value) } else { ControlFlow::Break(()) }
        })
    }

    pub(crate) fn pairs<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
    ) -> sled::Result<Vec<(IVec, IVec)>> {
        let mut pairs = Vec::new();
        self.visit(range, |key, value| {
            pairs.push((key, value));
            ControlFlow::Continue(())
        })?;
        Ok(pairs)
    }

    /// The first `most` keys of a range.
    pub(crate) fn keys<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        most: usize,
    ) -> sled::Result<Vec<IVec>> {
        let mut keys = Vec::new();
        self.visit(range, |key, _| {
            keys.push(key);
            if keys.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(keys)
    }

    pub(crate) fn first<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
    ) -> sled::Result<Option<(IVec, IVec)>> {
        self.end(Order::Ascending, &range)
    }

    pub(crate) fn last<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
    ) -> sled::Result<Option<(IVec, IVec)>> {
        self.end(Order::Descending, &range)
    }

    fn end<K: AsRef<[u8]>>(
        &self,
        order: Order,
        range: &impl RangeBounds<K>,
    ) -> sled::Result<Option<(IVec, IVec)>> {
        let mut end = None;
        self.visit_in(order, range, |key, value| {
            end = Some((key, value));
            ControlFlow::Break(())
        })?;
        Ok(end)
    }

    fn visit_in<K: AsRef<[u8]>>(
        &self,
        order: Order,
        range: &impl RangeBounds<K>,
        mut visit: impl FnMut(IVec, IVec) -> ControlFlow<()>,
    ) -> sled::Result<()> {
        let range = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        // The pages of a damaged database can lead in a circle: a key that does not follow the one before ends the visit.
        let (mut before, mut in_order) = (None::<IVec>, true);
        self.database.visit(self.tree, range, order, &mut |key, value| {
            in_order = before.as_ref().is_none_or(|before| match order {
                Order::Ascending => before < &key,
                Order::Descending => before > &key,
            });
            if !in_order {
                return ControlFlow::Break(());
            }
            before = Some(key.clone());
            visit(key, value)
        })?;
        if in_order { Ok(()) } else { Err(damaged("its keys are out of order")) }
    }
}

/// sled's error for what only a damaged database does.
pub(super) fn damaged(what: &str) -> sled::Error {
    sled::Error::ReportableBug(what.to_owned())
}
