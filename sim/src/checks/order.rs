//! G5 linearizable, judged by the places that answers name. Pure.
//!
//! An answer names the offset of its record, a read the newest record that it saw. So the order in which everything happened to an entity is known, and
//! nothing has to be searched: sort by it, and look whether it agrees with real time. An operation that was over before another began must
//! not stand behind it. That is a sort and one pass; ten million operations take about a second.
//!
//! What this does not judge is whether a reply says what the state was at that place; that is for [`super::register`] and for the replay.

use std::collections::HashMap;

use holm_core::EntityAddress;

use super::finding::{Finding, Promise};
use super::intentions::Intention;
use crate::history::{Moment, OperationId};

/// One answered intention, as far as order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// A number for the entity.
    pub(super) entity: u32,
    /// Its place in the entity's order: twice the offset, and one more for a read, which stands behind the record that it saw.
    pub(super) rank: u64,
    pub(super) begun: Moment,
    pub(super) answered: Moment,
    pub(super) operation: OperationId,
}

/// Two operations whose order in the log contradicts their order in time: `late` was over before `early` began, and stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) early: Witness,
    pub(super) late: Witness,
}

/// Compares the order of answers with real time, entity by entity.
pub(super) fn check(intentions: &[Intention<'_>]) -> Vec<Finding> {
    let mut entities: HashMap<&EntityAddress, u32> = HashMap::new();
    let mut names = Vec::new();
    let mut witnesses = Vec::with_capacity(intentions.len());
    for intention in intentions {
        let Some((operation, first, place)) = intention.answers().next() else { continue };
        let Some(answered) = intention.answered() else { continue };
        let entity = *entities.entry(&first.call.entity).or_insert_with(|| {
            names.push(&first.call.entity);
            u32::try_from(names.len() - 1).expect("a history has fewer than 2^32 entities")
        });
        let rank = place.offset.0 * 2 + u64::from(first.call.reads);
        witnesses.push(Witness { entity, rank, begun: intention.begun(), answered, operation });
    }
    contradictions(witnesses)
        .into_iter()
        .map(|Contradiction { early, late }| {
            let what = format!(
                "was over at {} and yet saw, or changed, a later state than one that began at {}",
                late.answered, early.begun
            );
            let finding = Finding::new(Promise::Linearizable, what);
            finding.of(names[early.entity as usize]).by([late.operation, early.operation])
        })
        .collect()
}

/// At most one for each place in the order.
pub(super) fn contradictions(mut witnesses: Vec<Witness>) -> Vec<Contradiction> {
    // Answers come nearly in order already, which this sort makes use of.
    witnesses.sort_by_key(|witness| (witness.entity, witness.rank));
    let mut found = Vec::new();
    let same_entity = |a: &Witness, b: &Witness| a.entity == b.entity;
    for history in witnesses.chunk_by(same_entity) {
        // The one that began last of all that stand before the present place.
        let mut latest: Option<Witness> = None;
        for group in history.chunk_by(|a, b| a.rank == b.rank) {
            if let Some(early) = latest {
                // Reads that saw the same record may stand in any order among themselves.
                let late = group.iter().find(|witness| witness.answered < early.begun);
                found.extend(late.map(|late| Contradiction { early, late: *late }));
            }
            let last = group.iter().max_by_key(|witness| witness.begun).copied();
            latest = latest.max_by_begun(last);
        }
    }
    found
}

trait LaterBegun {
    fn max_by_begun(self, other: Self) -> Self;
}

impl LaterBegun for Option<Witness> {
    fn max_by_begun(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) if other.begun > one.begun => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(rank: u64, begun: u64, answered: u64) -> Witness {
        let operation = OperationId(usize::try_from(begun).unwrap());
        Witness { entity: 0, rank, begun: Moment(begun), answered: Moment(answered), operation }
    }

    /// Promise G5.
    #[test]
    fn what_overlaps_may_stand_in_any_order() {
        assert_eq!(contradictions(vec![witness(4, 0, 10), witness(2, 5, 12)]), []);
    }

    /// Promise G5: a write that was over before another began does not stand behind it.
    #[test]
    fn what_is_over_does_not_stand_behind_what_begins_later() {
        let (late, early) = (witness(4, 0, 10), witness(2, 11, 12));
        assert_eq!(contradictions(vec![late, early]), [Contradiction { early, late }]);
    }

    /// Promise G5: a read after an acknowledged write sees it.
    #[test]
    fn a_stale_read_is_found_and_reads_of_one_record_are_free() {
        let write = witness(4, 0, 10);
        let stale = witness(3, 11, 12);
        assert_eq!(
            contradictions(vec![write, stale]),
            [Contradiction { early: stale, late: write }]
        );
        assert_eq!(contradictions(vec![write, witness(5, 20, 21), witness(5, 11, 12)]), []);
    }

    /// A contradiction over a distance: only the oldest and the newest of many disagree.
    #[test]
    fn a_contradiction_is_found_across_others() {
        let mut all: Vec<_> = (1..100).map(|n| witness(n * 2, 0, 1_000)).collect();
        all[2].begun = Moment(500);
        all[90].answered = Moment(499);
        assert_eq!(contradictions(all.clone()).len(), 1);
        all[90].answered = Moment(500);
        assert_eq!(contradictions(all), []);
    }

    /// `cargo test --release -p holm-sim ten_million -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement: 10 million operations, 400 MB"]
    fn ten_million_operations() {
        let witnesses: Vec<_> = (0..10_000_000u64)
            .map(|n| Witness {
                entity: u32::try_from(n % 1_000).unwrap(),
                ..witness(n, n, n + 5_000)
            })
            .collect();
        let clock = holm_core::SystemClock;
        let begun = holm_core::Clock::now(&clock);
        assert_eq!(contradictions(witnesses), []);
        println!("10,000,000 operations: {:?}", holm_core::Clock::now(&clock).since(begun));
    }
}
