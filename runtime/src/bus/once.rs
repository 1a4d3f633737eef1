//! Handling facts once that may come twice.

use std::collections::BTreeMap;

use holm_core::{Offset, ShardId};
use serde::{Deserialize, Serialize};

use super::fact::Fact;

/// Remembers which facts were handled, one place for each shard, because facts of a shard come in order. Store it together with what the handler
/// changes, and a fact that comes twice changes nothing the second time.
///
/// ```
/// # use holm_runtime::bus::{Fact, Seen};
/// fn handle(view: &mut u64, seen: &mut Seen, fact: &Fact) {
///     if seen.is_new(fact) {
///         *view += 1;
///         seen.note(fact); // stored with `view`, in one transaction
///     }
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(BTreeMap<ShardId, (Offset, u32)>);

impl Seen {
    /// True when neither this fact nor one behind it was noted.
    #[must_use]
    pub fn is_new(&self, fact: &Fact) -> bool {
        let place = (fact.offset(), fact.index());
        self.0.get(&fact.shard()).is_none_or(|last| place > *last)
    }

    /// Notes that this fact, and so everything before it in its shard, was handled.
    pub fn note(&mut self, fact: &Fact) {
        if self.is_new(fact) {
            self.0.insert(fact.shard(), (fact.offset(), fact.index()));
        }
    }
}
