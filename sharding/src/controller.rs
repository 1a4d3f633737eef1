//! Decides what the cluster should do next. Pure: states and observations in, one step out; the node's shell carries it out and asks again.
//!
//! Two deciders. On the leader of the cluster log, [`facts`] turns observations into the next fact. On the leader of each shard, [`replicas`]
//! moves the shard's group towards the plan, one step at a time. Neither remembers anything, so another node goes on where one stopped.

pub(crate) mod facts;
pub(crate) mod replicas;
