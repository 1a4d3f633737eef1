//! G5 linearizable, judged by the places that answers name. Pure.
//!
//! An answer names the offset of its record, a read the newest record that it saw. So the order in which everything happened to an entity is known, and
//! nothing has to be searched: sort by it, and look whether it agrees with real time. An operation that was over before another began must
//! not stand behind it. That is a sort and one pass.
//!
//! What this does not judge is whether a reply says what the state was at that place; that is for [`super::register`] and for the replay.

use std::collections::BTreeMap;

use holm_core::EntityAddress;

use super::finding::{Finding, Promise};
use super::intentions::Intention;
use crate::history::{Moment, OperationId};

/// One answered intention, as far as order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
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
    let mut entities: BTreeMap<&EntityAddress, Vec<Witness>> = BTreeMap::new();
    for intention in intentions {
        let Some((operation, first, place)) = intention.answers().next() else { continue };
        let Some(answered) = intention.answered() else { continue };
        let rank = place.offset.0 * 2 + u64::from(first.call.reads);
        let witness = Witness { rank, begun: intention.begun(), answered, operation };
        entities.entry(&first.call.entity).or_default().push(witness);
    }
    let mut findings = Vec::new();
    for (entity, mut witnesses) in entities {
        for Contradiction { early, late } in contradictions(&mut witnesses) {
            let what = format!(
                "was over at {} and yet saw, or changed, a later state than one that began at {}",
                late.answered, early.begun
            );
            let finding = Finding::new(Promise::Linearizable, what).of(entity);
            findings.push(finding.by([late.operation, early.operation]));
        }
    }
    findings
}

/// The contradictions in what happened to one entity, at most one for each place in its order.
pub(super) fn contradictions(witnesses: &mut [Witness]) -> Vec<Contradiction> {
    // Answers come nearly in order already, which a stable sort makes use of.
    witnesses.sort_by_key(|witness| witness.rank);
    let mut found = Vec::new();
    // The one that began last of all that stand before the present place.
    let mut latest: Option<Witness> = None;
    for group in witnesses.chunk_by(|a, b| a.rank == b.rank) {
        if let Some(early) = latest {
            // Reads that saw the same record may stand in any order among themselves.
            let late = group.iter().find(|witness| witness.answered < early.begun);
            found.extend(late.map(|late| Contradiction { early, late: *late }));
        }
        let last = group.iter().max_by_key(|witness| witness.begun).copied();
        // On a tie the earlier one stays.
        latest = last.into_iter().chain(latest).max_by_key(|witness| witness.begun);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(rank: u64, begun: u64, answered: u64) -> Witness {
        let operation = OperationId(usize::try_from(begun).unwrap());
        Witness { rank, begun: Moment(begun), answered: Moment(answered), operation }
    }

    /// Promise G5.
    #[test]
    fn what_overlaps_may_stand_in_any_order() {
        assert_eq!(contradictions(&mut [witness(4, 0, 10), witness(2, 5, 12)]), []);
    }

    /// Promise G5: a write that was over before another began does not stand behind it.
    #[test]
    fn what_is_over_does_not_stand_behind_what_begins_later() {
        let (late, early) = (witness(4, 0, 10), witness(2, 11, 12));
        assert_eq!(contradictions(&mut [late, early]), [Contradiction { early, late }]);
    }

    /// Promise G5: a read after an acknowledged write sees it.
    #[test]
    fn a_stale_read_is_found_and_reads_of_one_record_are_free() {
        let write = witness(4, 0, 10);
        let stale = witness(3, 11, 12);
        assert_eq!(
            contradictions(&mut [write, stale]),
            [Contradiction { early: stale, late: write }]
        );
        assert_eq!(contradictions(&mut [write, witness(5, 20, 21), witness(5, 11, 12)]), []);
    }

    /// A contradiction over a distance: only the oldest and the newest of many disagree.
    #[test]
    fn a_contradiction_is_found_across_others() {
        let mut all: Vec<_> = (1..100).map(|n| witness(n * 2, 0, 1_000)).collect();
        all[2].begun = Moment(500);
        all[90].answered = Moment(499);
        assert_eq!(contradictions(&mut all.clone()).len(), 1);
        all[90].answered = Moment(500);
        assert_eq!(contradictions(&mut all), []);
    }

    /// `cargo test --release -p holm-sim ten_million -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement: 10 million operations, 400 MB"]
    fn ten_million_operations() {
        let mut entities: Vec<Vec<Witness>> = vec![Vec::new(); 1_000];
        for n in 0..10_000_000u64 {
            // Up to forty places away from where its time would have it.
            let rank = n * 2 + n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 40;
            entities[usize::try_from(n % 1_000).unwrap()].push(witness(rank, n * 2, n * 2 + 100));
        }
        let clock = holm_core::SystemClock;
        let begun = holm_core::Clock::now(&clock);
        assert!(entities.iter_mut().all(|witnesses| contradictions(witnesses).is_empty()));
        println!("10,000,000 operations: {:?}", holm_core::Clock::now(&clock).since(begun));
    }
}
