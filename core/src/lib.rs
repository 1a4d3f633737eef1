//! The words of Holm: ids, counters, envelopes, limits, clock, entropy and the two questions every error answers.
//!
//! Everything here is pure data and pure functions. There is no executor, no socket, no file and no lock in this crate;
//! time and randomness enter through [`Clock`] and [`Entropy`], the only two seams, so that the crates above can be driven
//! by a simulator from one seed.

mod address;
mod clock;
mod counters;
mod entropy;
mod envelope;
mod error;
mod idempotency;
mod limits;
mod lineage;
mod shard_hash;
mod trace_context;

pub use address::{AddressError, EntityAddress, MAX_ENTITY_ID_BYTES, MAX_ENTITY_TYPE_BYTES};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use counters::{NodeId, Offset, SequenceNumber, ShardId, Term};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use envelope::{Answer, CommandEnvelope, Verdict};
pub use error::{AskError, ErrorKind, Limit, Outcome};
pub use idempotency::{IdempotencyKey, InvalidKey, MAX_KEY_BYTES};
pub use limits::{Limits, ZeroLimit};
pub use lineage::{CausationId, CommandId, CorrelationId, FailureId};
pub use shard_hash::{MAX_SHARDS, shard_of};
pub use trace_context::{NotATraceParent, TraceParent};
