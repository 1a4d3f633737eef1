//! When a shard's group may rest, and when what is heard of other nodes means that it must wake: plain rules without clock and I/O.
//!
//! A resting group has no heartbeats, so nobody would see its leader die. In their place each node gives a *sign* to every node with which groups
//! rest: "this start of me lives, and these groups rest". A node that is silent for as long as a follower would have waited for a heartbeat wakes
//! everything that rests with it. So does one that names other groups than are thought of here for as long: who believes that a group rests
//! while its leader does not would sleep for ever.
//!
//! Silence counts as far as this thread could have heard something: a process that was not running for a while has not been left.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{NodeId, ShardId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::raft::ConsensusTimes;

/// What the leader of a group sees when nothing has been asked of it for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calm {
    /// The shard is served, its membership is settled, and nobody only learns.
    pub(super) settled: bool,
    /// This node is about to stop.
    pub(super) retiring: bool,
    /// The last entry of the log, and how far it is committed and applied.
    pub(super) last: Option<u64>,
    pub(super) committed: Option<u64>,
    pub(super) applied: Option<u64>,
    /// The other voters.
    pub(super) others: Vec<Other>,
}

/// Another voter, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Other {
    /// The last entry that it surely has.
    pub(super) matched: Option<u64>,
    /// How long ago it last answered.
    pub(super) silent: Duration,
    /// Whether there is a connection to it.
    pub(super) connected: bool,
}

impl Calm {
    /// Whether there is nothing that the group would have to do: everybody is there and has everything.
    pub(super) fn may_rest(&self, lease: Duration) -> bool {
        let has_all = |index: Option<u64>| self.last.is_some() && index == self.last;
        let is_there =
            |other: &Other| other.connected && other.silent < lease && has_all(other.matched);
        self.settled
            && !self.retiring
            && has_all(self.committed)
            && has_all(self.applied)
            && self.others.iter().all(is_there)
    }
}

/// Some resting groups, in a few bytes. Equal sets have equal digests, and different ones hardly ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    groups: u32,
    sum: u64,
}

impl Digest {
    /// Adds a group that rests at a term.
    pub(super) fn add(&mut self, shard: ShardId, term: u64) {
        self.groups += 1;
        self.sum = self.sum.wrapping_add(mixed(u64::from(shard.0) ^ mixed(term)));
    }
}

/// A bijection that spreads neighbours (the finalizer of SplitMix64), so that sums tell sets apart.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// The groups that rest between two nodes, as one of the two sees it; also what it says in a sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shared {
    /// Those that it leads.
    pub(super) leads: Digest,
    /// Those that the other one leads.
    pub(super) follows: Digest,
}

impl Shared {
    /// Whether the other one sees the same.
    fn agrees_with(self, other: Self) -> bool {
        self.leads == other.follows && self.follows == other.leads
    }
}

/// What is known of the nodes with which groups rest.
#[derive(Debug)]
pub(super) struct Company {
    /// How long a node may be silent, or of another opinion.
    patience: Duration,
    /// The most time between two looks that counts as time in which something could be heard.
    gap: Duration,
    looked: Option<Instant>,
    nodes: BTreeMap<NodeId, Known>,
}

/// A node with which nothing may rest any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Woken {
    pub(super) node: NodeId,
    /// It gave no sign for too long, or it surely ended: somebody else may be elected for what it leads.
    pub(super) dead: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Which start of it gave the signs.
    incarnation: Option<u64>,
    /// It gave a sign since the last look.
    heard: bool,
    silent: Duration,
    /// How long its opinion has been another one.
    apart: Duration,
    said: Shared,
    seen: Shared,
    /// Nothing of it is believed any more: its process surely ended.
    over: bool,
}

impl Company {
    /// Nothing rests yet.
    pub(super) fn new(times: ConsensusTimes) -> Self {
        Self {
            patience: times.patience(),
            gap: times.sign() * 2,
            looked: None,
            nodes: BTreeMap::new(),
        }
    }

    /// A node gave a sign.
    pub(super) fn hear(&mut self, node: NodeId, incarnation: u64, said: Shared) {
        // Nothing rests with others, or not yet: the next look begins with them.
        let Some(known) = self.nodes.get_mut(&node) else { return };
        if known.incarnation.is_some_and(|before| before != incarnation) {
            known.over = true;
        } else if !known.over {
            *known = Known { incarnation: Some(incarnation), heard: true, said, ..*known };
        }
    }

    /// A connection to this start of a node stands. A sign of its own would say so later.
    pub(super) fn connected(&mut self, node: NodeId, incarnation: u64) {
        if let Some(known) = self.nodes.get_mut(&node)
            && known.incarnation.is_some_and(|before| before != incarnation)
        {
            known.over = true;
        }
    }

    /// The process that a node was is surely dead. Something may rest with it since the last look.
    pub(super) fn died(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().over = true;
    }

    /// Whether a node that leads resting groups counts as living. That stands for the lease which nobody renews meanwhile: nobody need be
    /// elected in its place.
    pub(super) fn lives(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_none_or(|known| !known.over && known.silent < self.patience)
    }

    /// Takes in what rests with whom, and says what must wake.
    pub(super) fn look(&mut self, shared: &BTreeMap<NodeId, Shared>, now: Instant) -> Vec<Woken> {
        let passed = self.looked.replace(now).map_or(Duration::ZERO, |before| now - before);
        let passed = passed.min(self.gap);
        self.nodes.retain(|node, _| shared.contains_key(node));
        let mut woken = Vec::new();
        for (node, seen) in shared {
            let known = self.nodes.entry(*node).or_default();
            known.take_look(*seen, passed);
            let dead = known.over || known.silent >= self.patience;
            if dead || known.apart >= self.patience {
                woken.push(Woken { node: *node, dead });
            }
        }
        // What rests with them again later begins anew.
        self.nodes.retain(|node, _| !woken.iter().any(|woken| woken.node == *node));
        woken
    }
}

impl Known {
    fn take_look(&mut self, seen: Shared, passed: Duration) {
        let heard = std::mem::replace(&mut self.heard, false);
        let changed = std::mem::replace(&mut self.seen, seen) != seen;
        self.silent = if heard { Duration::ZERO } else { self.silent + passed };
        // Who has just put a group to rest, or woken one, hears a moment later that the other one has, too.
        let agreed = changed || self.incarnation.is_none() || seen.agrees_with(self.said);
        self.apart = if agreed { Duration::ZERO } else { self.apart + passed };
    }
}

#[cfg(test)]
mod tests;
