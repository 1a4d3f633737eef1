//! The figures that the console itself puts behind `/metrics`: what is only known when somebody looks. The crates below count the rest.
//!
//! Only the `metrics` facade is used here; a program installs a recorder or does not. No label carries an id of an entity, a conversation or a shard.

use std::collections::BTreeMap;
use std::time::Duration;

use holm::{FailureKind, Holm, MemberState, ShardState};
use metrics::{counter, gauge};

use super::cluster::{member_state, shard_state};

/// The buckets of every duration, in seconds. Equal everywhere, so that histograms of several nodes can be added.
pub const DURATION_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Brings up to date what nobody counts as it happens. Called when somebody looks, so it costs nothing while nobody does.
pub(super) fn refresh(holm: &Holm) {
    let view = holm.view();
    let mut members = BTreeMap::from(MEMBER_STATES.map(|state| (member_state(state), 0_u32)));
    for member in &view.members {
        *members.entry(member_state(member.state)).or_default() += 1;
    }
    for (state, count) in members {
        gauge!("holm.cluster.member.count", "state" => state).set(count);
    }
    let mut shards = BTreeMap::from(SHARD_STATES.map(|state| (shard_state(state), 0_u32)));
    for shard in &view.shards {
        *shards.entry(shard_state(shard.state)).or_default() += 1;
    }
    for (state, count) in shards {
        gauge!("holm.shard.count", "state" => state).set(count);
    }
    let stats = holm.stats();
    let leading = stats.shards.iter().filter(|shard| shard.leading).count();
    gauge!("holm.shard.leading.count").set(u32::try_from(leading).unwrap_or(u32::MAX));
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the pipeline is bounded")]
    gauge!("holm.entity.command.in_flight").set(stats.total().in_flight as f64);
    counter!("holm.journal.fsyncs").absolute(holm.facts().fsyncs);
}

/// Time for the failure log to say how much stands open; a page of figures does not wait for a shard that is not served.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// The same for what must be asked of the cluster. Without an answer the figures stay as they were.
pub(super) async fn refresh_failures(holm: &Holm) {
    let counted = tokio::time::timeout(COUNT_TIMEOUT, async { holm.failures().counts().await });
    let Ok(Ok(counts)) = counted.await else { return };
    for kind in FailureKind::ALL {
        let open = counts.open.get(&kind).copied().unwrap_or(0);
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        gauge!("holm.failure.parked.count", "kind" => kind.name()).set(open);
    }
}

const MEMBER_STATES: [MemberState; 5] = [
    MemberState::Joining,
    MemberState::Up,
    MemberState::Suspect,
    MemberState::Leaving,
    MemberState::Down,
];

const SHARD_STATES: [ShardState; 4] =
    [ShardState::Serving, ShardState::Recovering, ShardState::HandingOff, ShardState::Unassigned];
