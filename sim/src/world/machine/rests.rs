//! Which groups rest on a machine whose node leads them, and which were woken.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{Offset, ShardId, Term};
use holm_sharding::ClusterNode;

use crate::sometimes::Situation;
use crate::world::met::Met;

/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(50);

/// The groups that rested: under which term, and where their logs ended then.
#[derive(Debug, Default)]
pub(super) struct Rests(BTreeMap<ShardId, (Term, Offset)>);

impl Rests {
    /// Looks at the groups of a node, once in a while.
    pub(super) fn look(&mut self, node: &ClusterNode, now: Duration, met: &Met) {
        if !now.as_millis().is_multiple_of(LOOK.as_millis()) {
            return;
        }
        let (me, view) = (node.node(), node.view());
        let term_here = |shard: ShardId| {
            view.shard(shard).filter(|shard| shard.leader == Some(me)).map(|shard| shard.term)
        };
        // A log that cannot be read has nothing to tell.
        let end = |shard| node.log().last_offset(shard).unwrap_or_default();
        let at_rest = node.resting_shards();
        self.0.retain(|shard, (term, rested_at)| {
            let same = term_here(*shard) == Some(*term);
            let woken = same && !at_rest.contains(shard) && end(*shard) > *rested_at;
            met.met_times(Situation::GroupWoken, woken.into());
            same && !woken
        });
        for shard in at_rest {
            let Some(term) = term_here(shard) else { continue };
            let known = self.0.insert(shard, (term, end(shard)));
            met.met_times(Situation::GroupRested, known.is_none().into());
        }
    }
}
