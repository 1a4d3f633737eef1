//! Which shard an entity belongs to: a hash that is pinned for ever, because every stored history depends on it.

use twox_hash::XxHash64;

use crate::{EntityAddress, ShardId};

/// Most shards of a cluster. Each is a group of its own in consensus and an actor on its leader, and many on one node make small batches: a node that leads 256
/// already has less than half the rate of one that leads 16. So a larger number in a setting or a message is a mistake, and is refused.
pub const MAX_SHARDS: u32 = 4_096;

/// The shard of an entity in a cluster of `shards` shards: XXH64 (seed 0) of `type`, a zero byte and `id`, modulo `shards`.
///
/// Neither half can hold a zero byte, so two different addresses never hash the same text. XXH64 is specified by its author
/// (Yann Collet, "xxHash fast digest algorithm", version 0.1.1); the test below holds values that must never change.
///
/// # Panics
/// When `shards` is zero, which no cluster is created with.
#[must_use]
#[inline]
pub fn shard_of(address: &EntityAddress, shards: u32) -> ShardId {
    assert!(shards > 0, "a cluster has at least one shard");
    let shard = address.placing_hash() % u64::from(shards);
    ShardId(u32::try_from(shard).expect("a remainder of a u32 fits a u32"))
}

/// The hash of an address's text, which the address keeps.
pub(crate) fn hash_of(text: &str) -> u64 {
    XxHash64::oneshot(0, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Law A11: the hash is stable across versions and platforms.
    #[test]
    fn known_values_never_change() {
        let shard = |text: &str, shards| shard_of(&text.parse().unwrap(), shards).0;
        assert_eq!(shard("account/alice", 32), KNOWN[0]);
        assert_eq!(shard("account/bob", 32), KNOWN[1]);
        assert_eq!(shard("show/hamlet", 128), KNOWN[2]);
        assert_eq!(shard("airport/LAX", 1024), KNOWN[3]);
    }

    /// Computed with the reference implementation, not with this one.
    const KNOWN: [u32; 4] = [24, 12, 43, 348];

    #[test]
    #[cfg_attr(miri, ignore = "the interpreter learns nothing new from the 32,000th hash")]
    fn entities_spread_evenly() {
        let mut load = [0u32; 32];
        for n in 0..32_000 {
            let address = EntityAddress::new("account", n.to_string()).unwrap();
            load[shard_of(&address, 32).0 as usize] += 1;
        }
        assert!(load.iter().all(|&entities| (850..1150).contains(&entities)), "{load:?}");
    }
}
