//! Readers that follow the cluster while it is harmed, and are harmed themselves: a projection into SQLite and two members of a durable subscription, each a
//! process of its own. At the end what they saw is compared with the logs (promise G8).
//!
//! In every round one of them, in turn, suffers what the nodes suffer: it is killed and started again at once, or stopped and woken up with them.

mod judge;
mod processes;
mod reader;
mod sights;

pub use judge::FollowersDocument;
pub use reader::{FollowerArgs, run_follower};

pub(super) use processes::Followers;
