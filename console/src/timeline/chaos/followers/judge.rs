//! What the readers saw against what the logs hold. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::sights::Sight;

/// What the readers of a campaign saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowersDocument {
    /// Facts in the logs when everything was over.
    pub facts: u64,
    /// Rows of the view.
    pub in_view: u64,
    /// What the members of the subscription were given, all of them together.
    pub deliveries: u64,
    /// How much of that they had been given before.
    pub repeated: u64,
    /// How often a reader was killed.
    pub kills: u32,
    /// How often one was stopped for a while.
    pub pauses: u32,
    /// What must not be.
    pub problems: Vec<String>,
}

/// The facts of each shard, in order.
pub(super) type Logs = BTreeMap<u32, Vec<Sight>>;

/// In each shard the rows, in the order in which they were written, are the facts of the log up to the view's position: each once, none left out.
pub(super) fn judge_view(
    logs: &Logs,
    rows: Vec<Sight>,
    positions: &BTreeMap<u32, u64>,
) -> Option<String> {
    let mut by_shard: Logs = BTreeMap::new();
    for row in rows {
        by_shard.entry(row.shard).or_default().push(row);
    }
    let shards: BTreeSet<u32> = logs.keys().chain(by_shard.keys()).copied().collect();
    shards.into_iter().find_map(|shard| {
        let position = positions.get(&shard).copied().unwrap_or_default();
        let stored = logs.get(&shard).map(Vec::as_slice).unwrap_or_default();
        let stored = &stored[..stored.partition_point(|fact| fact.offset <= position)];
        let rows = by_shard.remove(&shard).unwrap_or_default();
        let differs = (0..stored.len().max(rows.len())).find(|at| stored.get(*at) != rows.get(*at));
        differs.map(|at| {
            format!(
                "shard {shard}, up to {position}: fact {at} of the log is {:?}, that of the view {:?}",
                stored.get(at),
                rows.get(at)
            )
        })
    })
}

/// What one life of a member was given, in order.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) member: String,
    pub(super) sights: Vec<Sight>,
}

/// Every fact of the log up to `ends` was given to somebody. Within one life the facts of a shard come in the order of the log, and what lies between two of them
/// was given to another member; they go back only to come again.
pub(super) fn judge_members(
    logs: &Logs,
    ends: &BTreeMap<u32, u64>,
    lives: &[Life],
    document: &mut FollowersDocument,
) {
    let mut given: BTreeMap<&str, BTreeSet<&Sight>> = BTreeMap::new();
    for life in lives {
        given.entry(&life.member).or_default().extend(&life.sights);
    }
    let all: BTreeSet<&Sight> = given.values().flatten().copied().collect();
    document.deliveries = lives.iter().map(|life| life.sights.len() as u64).sum();
    document.repeated = document.deliveries.saturating_sub(all.len() as u64);
    let problems = &mut document.problems;
    for (shard, facts) in logs {
        let end = ends.get(shard).copied().unwrap_or_default();
        let missing = facts.iter().filter(|fact| fact.offset <= end && !all.contains(fact));
        problems.extend(missing.take(1).map(|fact| format!("no member was given {fact:?}")));
    }
    for life in lives {
        let others = given.iter().filter(|(member, _)| ***member != *life.member);
        let others: BTreeSet<&Sight> = others.flat_map(|(_, sights)| sights).copied().collect();
        problems.extend(judge_life(logs, life, &others));
    }
}

fn judge_life(logs: &Logs, life: &Life, others: &BTreeSet<&Sight>) -> Option<String> {
    let mut next: BTreeMap<u32, usize> = BTreeMap::new();
    life.sights.iter().find_map(|sight| {
        let facts = logs.get(&sight.shard).map(Vec::as_slice).unwrap_or_default();
        let Ok(at) = facts.binary_search(sight) else {
            return Some(format!("{} was given {sight:?}, which is in no log", life.member));
        };
        let expected = next.insert(sight.shard, at + 1)?;
        let between = facts.get(expected..at).unwrap_or_default();
        let lost = between.iter().find(|fact| !others.contains(fact))?;
        Some(format!("{} was given {sight:?} before {lost:?}", life.member))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(offset: u64, place: u32) -> Sight {
        Sight { shard: 1, offset, place, sequence: offset, entity: "account/1".into() }
    }

    fn logs() -> Logs {
        [(1, [(1, 0), (2, 0), (2, 1), (4, 0)].map(|(offset, place)| sight(offset, place)).into())]
            .into()
    }

    fn view(rows: &[(u64, u32)], position: u64) -> Option<String> {
        let rows = rows.iter().map(|(offset, place)| sight(*offset, *place)).collect();
        judge_view(&logs(), rows, &[(1, position)].into())
    }

    /// Promise G8: what is skipped, doubled, out of order or beyond the position is found.
    #[test]
    fn a_view_is_the_log_up_to_its_position() {
        assert_eq!(view(&[(1, 0), (2, 0), (2, 1)], 3), None);
        assert_eq!(view(&[], 0), None);
        assert!(view(&[(1, 0), (2, 1)], 2).is_some(), "skipped");
        assert!(view(&[(1, 0), (1, 0), (2, 0), (2, 1)], 2).is_some(), "doubled");
        assert!(view(&[(2, 0), (1, 0), (2, 1)], 2).is_some(), "out of order");
        assert!(view(&[(1, 0), (2, 0), (2, 1)], 1).is_some(), "position too old");
        assert!(view(&[(1, 0)], 2).is_some(), "position too far");
        assert!(view(&[(1, 0), (2, 0), (2, 1), (4, 0), (5, 0)], 9).is_some(), "in no log");
    }

    fn members(lives: &[(&str, &[(u64, u32)])]) -> FollowersDocument {
        let life = |(member, sights): &(&str, &[(u64, u32)])| Life {
            member: (*member).to_owned(),
            sights: sights.iter().map(|(offset, place)| sight(*offset, *place)).collect(),
        };
        let mut document = FollowersDocument::default();
        let lives: Vec<_> = lives.iter().map(life).collect();
        judge_members(&logs(), &[(1, 4)].into(), &lives, &mut document);
        document
    }

    /// Promise G8: at least once, in order, with a jump only over what somebody else was given.
    #[test]
    fn members_are_given_everything_in_order() {
        let all: &[(u64, u32)] = &[(1, 0), (2, 0), (2, 1), (4, 0)];
        let once = members(&[("a", all)]);
        assert_eq!((once.problems, once.deliveries, once.repeated), (Vec::new(), 4, 0));
        let again = members(&[("a", &all[..3]), ("b", &all[1..]), ("a", &all[3..])]);
        assert_eq!((again.problems, again.deliveries, again.repeated), (Vec::new(), 7, 3));
        let taken_over = members(&[("a", &[(1, 0), (4, 0)]), ("b", &all[1..3])]);
        assert_eq!(taken_over.problems, Vec::<String>::new());
        assert_eq!(members(&[("a", &[(1, 0), (2, 1), (2, 0), (4, 0)])]).problems.len(), 1);
        assert_eq!(
            members(&[("a", &[(1, 0), (2, 0), (4, 0)])]).problems.len(),
            2,
            "lost, and jumped"
        );
        assert_eq!(members(&[("a", &all[..3])]).problems.len(), 1, "the last is missing");
        assert_eq!(members(&[("a", all), ("b", &[(3, 0)])]).problems.len(), 1, "in no log");
    }
}
