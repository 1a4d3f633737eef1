//! What happened to the shards of a flow while it went on: facts of the cluster, at the steps that they held up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{AskError, EntityAddress, NodeId, SequenceNumber, ShardId, Timestamp};

use super::tree::{Branch, Flow};
use crate::cluster_facts::{ClusterEvent, ClusterFacts};
use crate::entity::Entity as _;
use crate::inspector::Inspector;
use crate::registry::read_event;

/// How long after it happened the cluster may notice that a shard has moved: reports come several times a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// Facts of the cluster that are read at once, and how many pages, the newest first: with 256 shards that each moved once a minute it reaches back a quarter of an hour.
const PAGE: u64 = 512;
const MOST_PAGES: usize = 8;

/// A shard that got another leader while the flow went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// Who led it before.
    pub from: NodeId,
    /// Who led it then.
    pub to: NodeId,
    /// When that was noticed.
    pub at: Timestamp,
    /// The place, in the flow's list, of the step that was on its way then; none when nothing of the flow was.
    pub step: Option<usize>,
}

/// The moves of a flow, in order of time. Pure.
///
/// That a step was on its way is known from when it was sent, which was before the move was noticed, and from itself, which was handled by the node that the
/// shard moved to. So a move is a likely reason for a wait, no proof of it.
#[must_use]
pub fn moves(flow: &Flow, facts: &[ClusterEvent]) -> Vec<Move> {
    let mut of_shard: HashMap<ShardId, Vec<usize>> = HashMap::new();
    for (index, branch) in flow.branches.iter().enumerate() {
        of_shard.entry(branch.step.shard).or_default().push(index);
    }
    let from_when = first_sent(flow);
    let until = flow.began().unwrap_or_default().plus(flow.lasted()).plus(NOTICED_WITHIN);
    let mut moves: Vec<Move> = Vec::new();
    for fact in facts {
        let ClusterEvent::ShardMoved { shard, from, to, at, .. } = *fact else { continue };
        let Some(steps) = of_shard.get(&shard).filter(|_| (from_when..=until).contains(&at)) else {
            continue;
        };
        let was_on_its_way = |index: &usize| {
            let branch = &flow.branches[*index];
            let handled = branch.step.at.plus(NOTICED_WITHIN);
            branch.step.node.is_none_or(|node| node == to)
                && (sent(flow, branch)..=handled).contains(&at)
        };
        let on_their_way = steps.iter().copied().filter(was_on_its_way);
        let step = on_their_way.min_by_key(|index| flow.branches[*index].step.at);
        moves.push(Move { shard, from, to, at, step });
    }
    moves.sort_by_key(|it| it.at);
    moves
}

/// From when on what happens to the cluster matters to a flow.
#[must_use]
pub fn first_sent(flow: &Flow) -> Timestamp {
    flow.branches.iter().map(|branch| sent(flow, branch)).min().unwrap_or_default()
}

/// When a step was sent: with the handling of its cause; from outside, when its id was made, if that tells a time.
fn sent(flow: &Flow, branch: &Branch) -> Timestamp {
    let cause = branch.parent.and_then(|parent| flow.branches.get(parent));
    let sent = match cause {
        Some(cause) => Some(cause.step.at),
        None => branch.step.id.opens().began(),
    };
    sent.map_or(branch.step.at, |sent| sent.min(branch.step.at))
}

/// What happened to the cluster since then, and a moment longer ago; and whether all of it was found: only so many facts are looked through, from the newest.
///
/// # Errors
/// When the facts of the cluster cannot be read now.
pub async fn cluster_facts_since(
    inspector: &Arc<dyn Inspector>,
    since: Timestamp,
) -> Result<(Vec<ClusterEvent>, bool), AskError> {
    let unknown = |reason: String| {
        let (command, reason) = ("facts of the cluster".into(), reason.into());
        AskError::Undecodable { command, reason }
    };
    let address = EntityAddress::new(ClusterFacts::TYPE, ClusterFacts::ID)
        .map_err(|error| unknown(error.to_string()))?;
    // Nothing behind the highest: only to know which that is.
    let all = inspector.history(address.clone(), SequenceNumber(u64::MAX), 1).await?;
    let (mut end, mut facts) = (all.highest.get(), Vec::new());
    for _ in 0..MOST_PAGES {
        if end == 0 {
            return Ok((facts, true));
        }
        let begin = end.saturating_sub(PAGE);
        let limit = usize::try_from(end - begin).unwrap_or(usize::MAX);
        let page = inspector.history(address.clone(), SequenceNumber(begin), limit).await?;
        let mut oldest = None;
        for stored in page.stored_records() {
            let record = stored.decode().map_err(|error| unknown(error.to_string()))?;
            oldest = oldest.or(Some(record.at));
            for (number, event) in (record.base.get() + 1..).zip(&record.events) {
                // A record may lie across two pages.
                if number > begin && number <= end {
                    let event = read_event::<ClusterFacts>(event);
                    facts.push(event.map_err(|error| unknown(error.to_string()))?);
                }
            }
        }
        if oldest.is_none_or(|oldest| oldest < since) {
            return Ok((facts, true));
        }
        end = begin;
    }
    Ok((facts, end == 0))
}

#[cfg(test)]
mod tests {
    use holm_core::{CausationId, CommandId, Offset, Term};

    use super::*;
    use crate::flow::{FlowStep, StepOutcome};

    fn step(id: u128, cause: u128, shard: u32, node: u64, at: u64) -> FlowStep {
        FlowStep {
            shard: ShardId(shard),
            offset: Offset(1),
            node: Some(NodeId(node)),
            at: Timestamp::from_millis(at),
            entity: EntityAddress::new("account", format!("a{id}")).unwrap(),
            command: "deposit".into(),
            id: CommandId(id),
            causation: CausationId(cause),
            base: SequenceNumber::ZERO,
            events: Vec::new(),
            outcome: StepOutcome::Accepted,
            stored: None,
        }
    }

    fn moved(shard: u32, to: u64, at: u64) -> ClusterEvent {
        let (from, to) = (NodeId(9), NodeId(to));
        let at = Timestamp::from_millis(at);
        ClusterEvent::ShardMoved { shard: ShardId(shard), from, to, term: Term(2), at }
    }

    /// Shard, when it was noticed, and the step that waited for it.
    fn seen(flow: &Flow, facts: &[ClusterEvent]) -> Vec<(u32, u64, Option<usize>)> {
        moves(flow, facts).iter().map(|it| (it.shard.0, it.at.as_millis(), it.step)).collect()
    }

    #[test]
    fn a_move_hangs_on_the_step_that_waited_for_it() {
        // The first from outside at 10,000; it sends two; the second of them sends one more to the shard of the first.
        let flow = Flow::of(vec![
            step(1, 1, 0, 1, 10_000),
            step(2, 1, 3, 2, 10_002),
            step(3, 1, 5, 3, 10_400),
            step(4, 3, 0, 2, 10_500),
        ]);
        // Noticed while it was on its way, and a moment after it was handled.
        assert_eq!(seen(&flow, &[moved(5, 3, 10_050)]), [(5, 10_050, Some(2))]);
        assert_eq!(seen(&flow, &[moved(5, 3, 10_900)]), [(5, 10_900, Some(2))]);
        // Handled by the node that had it before: it did not wait for the move.
        assert_eq!(seen(&flow, &[moved(5, 4, 10_050)]), [(5, 10_050, None)]);
        // The later step waited, not the one that was over.
        assert_eq!(seen(&flow, &[moved(0, 2, 10_450)]), [(0, 10_450, Some(3))]);
        // Before the flow, long after it, and shards that it did not touch.
        assert_eq!(
            seen(&flow, &[moved(5, 3, 9_999), moved(5, 3, 12_501), moved(6, 3, 10_050)]),
            []
        );
        let others = [
            ClusterEvent::QuorumRegained { shard: ShardId(5), at: Timestamp::from_millis(10_050) },
            moved(0, 2, 10_450),
            moved(3, 2, 10_001),
        ];
        assert_eq!(seen(&flow, &others), [(3, 10_001, Some(1)), (0, 10_450, Some(3))]);
    }

    #[test]
    fn what_comes_from_outside_was_sent_when_its_id_was_made() {
        let mut chance = holm_core::SeededEntropy::new(1);
        let id = CommandId::generate(Timestamp::from_millis(10_000), &mut chance);
        let flow = Flow::of(vec![step(id.0, id.0, 0, 1, 10_800)]);
        assert_eq!(first_sent(&flow), Timestamp::from_millis(10_000));
        assert_eq!(seen(&flow, &[moved(0, 1, 10_300)]), [(0, 10_300, Some(0))]);
        assert_eq!(seen(&flow, &[moved(0, 1, 9_000)]), []);
    }
}
