//! The cluster event bus: what happened, as facts that anybody may follow, on one node and on many.
//!
//! There is no second store and no broker: a fact is an event in the log of its shard, and a subscriber reads the logs behind the writers. So what
//! is published is what is stored, in the order in which it is stored (promise G8), and a subscriber that is slow costs nobody anything: it asks for the
//! next page when it is ready for it.
//!
//! - [`Fact`] is one event with everything that is known of it; [`Interest`] says which facts somebody wants.
//! - [`ShardFeed`] follows one shard; [`Subscription`] follows many, from now or from a position.
//! - [`Topic`] is a program's own stream of typed messages, which are facts like any other; [`TopicName`] is the constant by which entities publish.
//! - [`DurableSubscription`] has a name under which its position is stored, and shares the shards with the other members of its group; a [`GroupMember`]
//!   shares them too and keeps its positions elsewhere.

mod cloud_event;
mod door;
mod durable;
mod fact;
mod feed;
mod following;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod group;
mod group_member;
mod interest;
mod lag;
mod look;
mod newest;
mod once;
mod position;
mod replay;
mod set_aside;
mod subscription;
mod tags;
pub(crate) mod topic;
mod topic_name;
mod watch;

pub use cloud_event::{CloudEvent, Publisher};
pub use door::Bus;
pub use durable::{DurableSubscription, SubscribeError};
pub use fact::{Fact, FactId};
pub use feed::{FeedError, Page, ShardFeed};
pub use group::GroupRefusal;
pub use group_member::GroupMember;
pub use interest::Interest;
pub use lag::LagLimit;
pub use newest::newest_of_each;
pub use once::Seen;
pub use position::{Position, Start};
pub use replay::{INCLUDED, IncludeError, REPLAYS};
pub use set_aside::SetAside;
pub use subscription::Subscription;
pub use topic::{Topic, TopicError};
pub use topic_name::TopicName;
