//! Places in the logs, and where a subscription begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use holm_core::{Offset, ShardId};
use serde::{Deserialize, Serialize};

use super::feed::FeedError;
use crate::inspector::Inspector;

/// Where in the logs somebody is: everything up to these offsets was seen. A shard that is not named was not looked at yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub BTreeMap<ShardId, Offset>);

impl Position {
    /// The place in one shard.
    #[must_use]
    pub fn of(&self, shard: ShardId) -> Offset {
        self.0.get(&shard).copied().unwrap_or_default()
    }

    /// True when everything up to `offset` of this shard was seen.
    #[must_use]
    pub fn has_passed(&self, shard: ShardId, offset: Offset) -> bool {
        self.of(shard) >= offset
    }

    /// True when everything up to `other` was seen.
    #[must_use]
    pub fn has_reached(&self, other: &Self) -> bool {
        other.0.iter().all(|(shard, offset)| self.has_passed(*shard, *offset))
    }
}

/// Where a subscription begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first fact that was ever stored.
    #[default]
    Beginning,
    /// With what happens from now on.
    Now,
    /// Behind this position.
    After(Position),
}

impl Start {
    /// The place in each of the shards.
    pub(super) async fn position(
        self,
        inspector: &Arc<dyn Inspector>,
        shards: u32,
    ) -> Result<Position, FeedError> {
        match self {
            Self::Beginning => Ok(Position::default()),
            Self::After(position) => Ok(position),
            Self::Now => {
                let ends = (0..shards).map(ShardId).map(|shard| {
                    let end = inspector.tail(shard, None);
                    async move {
                        let unreadable = |source| FeedError::Unreadable { shard, source };
                        end.await.map(|offset| (shard, offset)).map_err(unreadable)
                    }
                });
                futures::future::try_join_all(ends)
                    .await
                    .map(|ends| Position(ends.into_iter().collect()))
            }
        }
    }
}
