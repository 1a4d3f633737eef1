//! What stands on the disks when a run is over: every copy of every log, and the newest snapshots, read as the nodes themselves read them.

use std::collections::{BTreeMap, BTreeSet};

use holm_core::{EntityAddress, Offset, ShardId, shard_of};
use holm_persistence::{ReadError, SnapshotCriteria};
use holm_sharding::ClusterNode;

use super::World;
use crate::history::{History, HistoryFull, ObserveError, SeenSnapshot};
use crate::sometimes::Situation;

/// How a log says that it has no replica of a shard.
const MOVED: &str = "this node holds no replica of it";

/// Bytes of a log read back at once.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Reads back what every node has. Returns what could not be read.
pub(super) fn observe(world: &World, shards: u32, history: &mut History) -> Vec<String> {
    let asked = asked_entities(history);
    let (mut problems, ends) = read_logs(world, shards, history);
    for machine in 0..world.machines() {
        let Some(node) = world.node(machine) else { continue };
        for shard in (0..shards).map(ShardId).filter(|shard| holds(&node, *shard)) {
            let of_shard = asked.iter().filter(|entity| shard_of(entity, shards) == shard);
            for entity in of_shard {
                problems.extend(kept(&node, shard, entity, history).err());
            }
        }
    }
    note_caught_up(world, &ends);
    problems
}

/// Where the copies of each log end, with their machines.
type Ends = BTreeMap<ShardId, Vec<(usize, Offset)>>;

/// Reads back the logs of every node. Gives what could not be read, and where the copies end.
pub(super) fn read_logs(world: &World, shards: u32, history: &mut History) -> (Vec<String>, Ends) {
    let (mut problems, mut ends) = (Vec::new(), Ends::new());
    for machine in 0..world.machines() {
        let Some(node) = world.node(machine) else { continue };
        for shard in (0..shards).map(ShardId).filter(|shard| holds(&node, *shard)) {
            match logged(&node, shard, history) {
                Ok(end) => ends.entry(shard).or_default().push((machine, end)),
                Err(problem) => problems.extend(problem),
            }
        }
    }
    (problems, ends)
}

/// The entities that somebody asked.
pub(super) fn asked_entities(history: &History) -> Vec<EntityAddress> {
    let asked = history.operations().iter().map(|operation| operation.call.entity.clone());
    asked.collect::<BTreeSet<_>>().into_iter().collect()
}

fn holds(node: &ClusterNode, shard: ShardId) -> bool {
    let view = node.view();
    view.shard(shard).is_some_and(|shard| shard.replicas.contains(&node.node()))
}

/// A shard's log on one node; the last offset. None where the replica moved away since the view was taken.
fn logged(
    node: &ClusterNode,
    shard: ShardId,
    history: &mut History,
) -> Result<Offset, Option<String>> {
    let mut next = Offset(1);
    loop {
        let batches = node.log().read(shard, next, READ_BYTES).map_err(|error| {
            let moved = error.to_string().ends_with(MOVED);
            (!moved).then(|| format!("node {} cannot read shard {shard}: {error}", node.node()))
        })?;
        let Some(last) = batches.last() else { return Ok(Offset(next.0 - 1)) };
        next = last.last().next();
        for batch in &batches {
            let seen = history.observe(node.node(), batch);
            seen.map_err(|error: ObserveError| Some(error.to_string()))?;
        }
    }
}

/// The newest snapshot of an entity on one node.
fn kept(
    node: &ClusterNode,
    shard: ShardId,
    entity: &EntityAddress,
    history: &mut History,
) -> Result<(), String> {
    let found = node.log().load_snapshot(shard, entity, SnapshotCriteria::default());
    let found = match found {
        Ok(found) => found,
        Err(ReadError::Store { reason, .. }) if reason.ends_with(MOVED) => None,
        Err(error) => return Err(format!("node {}: {entity}: {error}", node.node())),
    };
    let Some(snapshot) = found else { return Ok(()) };
    let seen = SeenSnapshot {
        node: node.node(),
        entity: entity.clone(),
        sequence: snapshot.sequence,
        offset: snapshot.offset,
        at: snapshot.at,
        payload: snapshot.payload,
    };
    history.observe_snapshot(seen).map_err(|full: HistoryFull| full.to_string())
}

/// Where the longest copy of each log ends at this moment.
pub(super) fn ends(world: &World, shards: u32) -> BTreeMap<ShardId, Offset> {
    let nodes: Vec<ClusterNode> = (0..world.machines()).filter_map(|it| world.node(it)).collect();
    let end = |shard| {
        let of_copies = nodes.iter().filter_map(|node| node.log().last_offset(shard).ok());
        (shard, of_copies.max().unwrap_or_default())
    };
    (0..shards).map(ShardId).map(end).collect()
}

/// A shard of which one copy ends before another: a moment ago that was so, and nothing was mended yet.
pub(super) fn note_copies_behind(world: &World, shards: u32) {
    world.met.met_times(Situation::CopyBehind, with_copies_behind(world, shards));
}

/// Of how many shards one copy ends before another at this moment.
pub(super) fn with_copies_behind(world: &World, shards: u32) -> u64 {
    let nodes: Vec<ClusterNode> = (0..world.machines()).filter_map(|it| world.node(it)).collect();
    let differ = |shard: &ShardId| {
        let holders = nodes.iter().filter(|node| holds(node, *shard));
        let ends = holders.filter_map(|node| node.log().last_offset(*shard).ok());
        ends.collect::<BTreeSet<Offset>>().len() > 1
    };
    (0..shards).map(ShardId).filter(differ).count() as u64
}

/// A machine that was down and whose copies all end where the longest do.
fn note_caught_up(world: &World, ends: &Ends) {
    let caught_up = (0..world.machines()).filter(|machine| {
        let copies = ends.values().filter_map(|ends| {
            let mine = ends.iter().find(|(of, _)| of == machine)?.1;
            Some((mine, ends.iter().map(|(_, end)| *end).max()?))
        });
        let copies: Vec<(Offset, Offset)> = copies.collect();
        world.machines[*machine].is_back()
            && copies.iter().any(|(mine, _)| *mine > Offset::ZERO)
            && copies.iter().all(|(mine, longest)| mine == longest)
    });
    world.met.met_times(Situation::NodeCaughtUp, caught_up.count() as u64);
}
