//! `holm chaos`: a campaign of real faults against the real processes of a local cluster under load.
//!
//! A campaign is a list of rounds drawn from one seed ([`schedule`]). In each round something is done to some nodes, is kept up for a while and is
//! taken back; writes to every shard are probed all the time. After each round every shard must have answered a write again within a bound, every
//! member must be up, and the ledger of the load must stand in the logs as it was acknowledged. At the end the order of everything that callers saw
//! is judged, the logs are read once more from their beginning, and the processes' memory, threads and descriptors are looked at.
//!
//! With `--followers`, readers in processes of their own follow all of it and are killed and paused too: what they saw is compared with the logs.
//!
//! With `--transfers`, money moves between accounts of the campaign meanwhile, and at the end all of it must be where it belongs.
//!
//! What does the harm is behind [`Hands`]. The hands here need no more rights than their cluster has: they kill, pause and cut off. Those that need
//! root and tools of the system are no part of this program.

mod campaign;
mod document;
mod fault;
mod followers;
mod hands;
mod resources;
mod round;
mod run;
mod schedule;
mod show;
mod transfers;

pub use campaign::{Campaign, Terms};
pub use document::{CampaignDocument, FaultSummary, RoundDocument, Skipped};
pub use fault::{FaultKind, Shape};
pub use followers::{FollowerArgs, FollowersDocument, run_follower};
pub use hands::{Hands, Inflicted, ProcessHands};
pub use resources::{Growth, NodeResources, Sample};
pub use run::{conclude, run_chaos};
pub use schedule::{Planned, Wish, schedule};
pub use transfers::TransfersDocument;
