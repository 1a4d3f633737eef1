//! What an entry of a shard's group means: a trim or a batch.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::shard_entry, holm_sharding::fuzzing::shard_entry_seeds);
